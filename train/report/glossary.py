"""What each loss term means, for a person who has never trained a model."""

from __future__ import annotations

from collections.abc import Mapping

MEANING: Mapping[str, str] = {
    "total": "All goals together, each times its weight.",
    "content": "How much of the photograph is lost. It rises while paint covers the picture, then settles.",
    "style": "How far strokes and colours are from the painting's. It should fall all the way.",
    "adversarial": "How easily the critic tells the paintings from the artist's. It should neither vanish nor explode.",
    "feature_matching": "How differently the critic sees paintings and the artist's works. It should fall slowly.",
    "temporal": "How much the paint swims when the scene moves. Lower is steadier.",
    "luminance": "How much the brightness flickers from frame to frame. Lower is steadier.",
    "noise": "How much the grain of a camera shakes the painting. Lower is steadier.",
    "canvas": "How much large patches stand still while the scene moves behind them.",
    "variation": "How rough the painting is from one pixel to the next.",
    "range": "How far colours leave what a screen can show. It should stay near 0.",
    "discriminator": "How often the critic is wrong. It goes up and down with the painter's progress.",
    "penalty": "How steep the critic's verdict is. It should stay small.",
}
