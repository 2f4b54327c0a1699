"""What each loss term and each figure means, for a person who has never trained a model."""

from __future__ import annotations

from collections.abc import Mapping

MEANING: Mapping[str, str] = {
    "total": "All goals together, each times its weight.",
    "content": "How much of the photograph is lost. It rises while paint covers the picture, then settles.",
    "style": "How far strokes and colours are from the painting's. It should fall all the way.",
    "batch_style": "The same, of a batch of pictures together.",
    "adversarial": "How easily the discriminator tells the paintings from the artist's. It may go up and down.",
    "feature_matching": "How differently the discriminator sees paintings and works. It should fall slowly.",
    "temporal": "How much the paint swims when the scene moves. Lower is steadier.",
    "noise": "How much the grain of a camera shakes the painting. Lower is steadier.",
    "tone": "How far light and dark are from where the photograph has them.",
    "lattice": "A mesh of single pixels, which the last layer can leave in flat parts. It should stay near 0.",
    "variation": "How rough the painting is from one pixel to the next.",
    "range": "How far colours leave what a screen can show. It should stay near 0.",
}

STEADINESS: Mapping[str, str] = {
    "ewarp": "What changes from frame to frame and no motion explains, as a mean squared error.",
    "e_stab": "The same as a root, over all pixels: also those that no other frame shows.",
}
