"""Metrics of a trained style, each a function with its formula and source; ``run.evaluate`` combines them."""

from train.evaluate.efficiency import latencies, multiply_adds, parameters
from train.evaluate.frechet import diversity, feature_fid, frechet_distance
from train.evaluate.inputs import PICTURE_SIDE, read_pictures
from train.evaluate.lpips import Lpips, load_lpips
from train.evaluate.similarity import content_distance, grey, ssim, structure_distance
from train.evaluate.style_distance import PAINTING_SIDE, StyleDistance, StyleScores, colour_distance
from train.evaluate.temporal import TemporalConsistency, masked_error, noise_amplification, warping_error

__all__ = [
    "PAINTING_SIDE",
    "PICTURE_SIDE",
    "Lpips",
    "StyleDistance",
    "StyleScores",
    "TemporalConsistency",
    "colour_distance",
    "content_distance",
    "diversity",
    "feature_fid",
    "frechet_distance",
    "grey",
    "latencies",
    "load_lpips",
    "masked_error",
    "multiply_adds",
    "noise_amplification",
    "parameters",
    "read_pictures",
    "ssim",
    "structure_distance",
    "warping_error",
]
