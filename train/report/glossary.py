"""Plain explanations of the loss terms and metrics, for readers new to training."""

from __future__ import annotations

from collections.abc import Mapping

MEANING: Mapping[str, str] = {
    "total": "Weighted sum of all terms.",
    "content": "How much of the photograph is lost. It rises as the style takes hold, then settles.",
    "faces": "How much of faces is lost.",
    "style": "How far strokes and colours are from the painting's. It should keep falling.",
    "batch_style": "The same, for a batch of pictures together.",
    "adversarial": "How easily the discriminator tells stylized pictures from the artist's. It may go up and down.",
    "feature_matching": "Distance from the artist's pictures in the discriminator's features. It should fall slowly.",
    "temporal": "How much strokes drift when the scene moves. Lower is steadier.",
    "noise": "How much camera noise disturbs the result. Lower is steadier.",
    "tone": "How far brightness differs from the photograph's.",
    "palette": "How far the colours of darks, middle tones and lights are from the painting's.",
    "plain": "Detail painted where a picture has none. Much of it: dashes in skies, a maze on walls.",
    "lattice": "A fine grid pattern that the last layer can leave in flat areas. It should stay near 0.",
    "variation": "How much neighbouring pixels differ.",
    "range": "How far colours exceed the displayable range. It should stay near 0.",
}

TEMPORAL_METRICS: Mapping[str, str] = {
    "ewarp": "Change from frame to frame that motion does not explain, as a mean squared error.",
    "e_stab": "The same as a root mean square over all pixels, including those hidden in the other frame.",
}
