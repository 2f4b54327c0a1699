"""How good a style is. Each figure is a function with its formula and its source; ``judge`` puts them together."""

from train.evaluate.efficiency import latencies, multiply_adds, parameters
from train.evaluate.frechet import diversity, feature_fid, frechet_distance
from train.evaluate.lpips import Lpips, load_lpips
from train.evaluate.material import PICTURE_SIDE, judge_pictures
from train.evaluate.similarity import content_distance, grey, ssim
from train.evaluate.style_distance import PAINTING_SIDE, StyleFigure, StyleJudge
from train.evaluate.temporal import ClipJudge, masked_error, noise_amplification, warping_error

__all__ = [
    "PAINTING_SIDE",
    "PICTURE_SIDE",
    "ClipJudge",
    "Lpips",
    "StyleFigure",
    "StyleJudge",
    "content_distance",
    "diversity",
    "feature_fid",
    "frechet_distance",
    "grey",
    "judge_pictures",
    "latencies",
    "load_lpips",
    "masked_error",
    "multiply_adds",
    "noise_amplification",
    "parameters",
    "ssim",
    "warping_error",
]
