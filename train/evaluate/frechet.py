"""Metrics of picture sets: Fréchet distance between two sets, and diversity within one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from engines.base import RGB
from engines.errors import TrainError
from train.data.pictures import to_tensor
from train.losses.vgg_features import Vgg19

Vectors: TypeAlias = npt.NDArray[np.float64]
"""(pictures, dimensions), or a mean (dimensions,) or a covariance (dimensions, dimensions)."""


@dataclass(frozen=True)
class Gaussian:
    """Mean (D,) and covariance (D, D) of the features of a set of pictures."""

    mean: Vectors
    covariance: Vectors


@torch.no_grad()
def pooled(network: Vgg19, pictures: Iterable[RGB]) -> Vectors:
    """Average the deepest tap of the network over each picture. Returns (pictures, channels), float64."""
    rows = [network(to_tensor(rgb))[-1].mean((2, 3))[0].double().numpy() for rgb in pictures]
    return np.stack(rows)


def fit(vectors: Vectors) -> Gaussian:
    """Fit a Gaussian with its covariance shrunk towards a multiple of the identity.

    With fewer pictures than dimensions the sample covariance is singular, and a Fréchet distance between two of them
    depends mostly on which pictures were drawn. The covariance is (1 − λ) S + λ tr(S)/D · I with the λ that minimises
    the expected squared error; λ goes to 0 as pictures become many. The distance is still biased by the number of
    pictures, so compare only values measured on equally many.

    Args:
        vectors: (pictures, dimensions), two pictures or more.

    Raises:
        TrainError: fewer than two pictures.

    Source:
        Ledoit and Wolf 2004, J. Multivariate Analysis 88(2), eqs. 14 to 16 and theorem 3.2.
    """
    count, width = vectors.shape
    if count < 2:
        raise TrainError(f"a distribution needs two or more pictures, not {count}")
    mean = vectors.mean(0)
    centred = vectors - mean
    sample = centred.T @ centred / count
    target = np.trace(sample) / width * np.eye(width)
    spread = ((sample - target) ** 2).sum()
    # Σ ‖x xᵀ − S‖² over the pictures, without making the D × D matrix of each one.
    doubt = (((centred**2).sum(1) ** 2).sum() - count * (sample**2).sum()) / count**2
    share = min(1.0, doubt / spread) if spread > 0 else 0.0
    return Gaussian(mean, (1 - share) * sample + share * target)


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """Return ‖μ_a − μ_b‖² + Tr(C_a + C_b − 2 (C_a^½ C_b C_a^½)^½): squared 2-Wasserstein distance of two Gaussians.

    Matrix roots come from eigenvalues of symmetric matrices in float64, so no complex results arise.

    Source:
        Dowson and Landau 1982, J. Multivariate Analysis 12(3); as FID: Heusel et al. 2017, arXiv:1706.08500, eq. 6.
    """
    root = _root(a.covariance)
    cross = np.linalg.eigvalsh(root @ b.covariance @ root)
    overlap = 2 * np.sqrt(np.clip(cross, 0, None)).sum()
    apart = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance) + np.trace(b.covariance) - overlap
    return max(0.0, float(apart))


def _root(matrix: Vectors) -> Vectors:
    """Return the symmetric square root of a covariance."""
    values, axes = np.linalg.eigh(matrix)
    root: Vectors = (axes * np.sqrt(np.clip(values, 0, None))) @ axes.T
    return root


def feature_fid(network: Vgg19, pictures: Iterable[RGB], *others: Iterable[RGB]) -> list[float]:
    """Return the Fréchet distance from one set of pictures to each of the others, in pooled features; see ``fit``.

    This is not Inception-FID: network, layers and number of pictures differ. Use it to compare styles with each other,
    not with figures from papers. Each set needs two or more pictures, preferably of one size.

    Raises:
        TrainError: a set has fewer than two pictures.

    Source:
        Heusel et al. 2017, arXiv:1706.08500.
    """
    first = fit(pooled(network, pictures))
    return [frechet_distance(fit(pooled(network, other)), first) for other in others]


def diversity(vectors: Vectors) -> float:
    """Mean over pairs ‖vᵢ − vⱼ‖ / mean ‖vᵢ‖: 0 when all pictures are alike, as after a collapse.

    Args:
        vectors: ``pooled`` features, two pictures or more.

    Raises:
        TrainError: fewer than two pictures.

    Source:
        Zhu et al. 2017, arXiv:1711.11586, section 5, with pooled features in place of LPIPS, so that sizes may differ.
    """
    count = len(vectors)
    if count < 2:
        raise TrainError(f"diversity needs two or more pictures, not {count}")
    first, second = np.triu_indices(count, k=1)
    apart = np.linalg.norm(vectors[first] - vectors[second], axis=1).mean()
    size = np.linalg.norm(vectors, axis=1).mean()
    return float(apart / size) if size > 0 else 0.0
