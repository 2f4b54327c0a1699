"""Styles that are mixed from others, in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from engines.errors import StyleError
from engines.mixing.mixed_weights import Look, Tensors, look_of, mix_weights
from engines.style_file import MANIFEST, WEIGHTS, Bounds, Ranges, StyleModel, sha256_of, stored_ranges

KEPT = 32
"""Mixes and styles whose weights are kept, 0.7 and 1.4 MB each."""

HINT = "only styles of one shape mix: those of the gallery, and those that began from one of them or base"


@dataclass(frozen=True)
class MixedStyle(StyleModel):
    """A style whose weights are those of others, mixed; graph and folder are those of the first.

    Attributes:
        mixed: its weights by name.
    """

    mixed: Mapping[str, npt.NDArray[np.floating]] = field(repr=False, compare=False, kw_only=True)

    def tensors(self) -> dict[str, npt.NDArray[np.floating]]:
        """Return the weights by name."""
        return dict(self.mixed)

    def weights_sha256(self) -> str:
        """See ``StyleModel``."""
        return sha256_of(self._weights_file())

    def files(self) -> dict[str, bytes]:
        """Return the files that make this a style on disk."""
        files = {self.graph.name: self.graph.read_bytes(), WEIGHTS: self._weights_file()}
        manifest = json.loads((self.folder / MANIFEST).read_bytes())
        described = {key: getattr(self, key) for key in ("name", "title", "painter", "work", "licence", "training")}
        digests = {name: sha256_of(data) for name, data in files.items()}
        files[MANIFEST] = json.dumps(
            {**manifest, **described, "files": digests, "ranges": stored_ranges(self.ranges)}
        ).encode()
        return files

    def _weights_file(self) -> bytes:
        """Return the weights in the layout of the first style's file, since the graph knows the place of each."""
        data = bytearray(self.weights.read_bytes())
        start = 8 + int.from_bytes(data[:8], "little")
        for name, entry in json.loads(bytes(data[8:start])).items():
            if name in self.mixed:
                begin, end = (start + offset for offset in entry["data_offsets"])
                data[begin:end] = self.mixed[name].astype("<f2").tobytes()
        return bytes(data)


def mix_styles(styles: Sequence[StyleModel], shares: Sequence[float]) -> MixedStyle:
    """Mix styles, in 0.1 s for weights that were not mixed before, and as long for each style that was not.

    The order does not matter to the weights, which are rounded to fp16, so that they are the same in every engine.

    Args:
        styles: two or more.
        shares: of each, positive; they sum to 1.

    Raises:
        StyleError: the networks have different shapes, or a style is damaged.
    """
    first = styles[0]
    for other in styles[1:]:
        check_shapes(first, other)
    parts = sorted(_Part(one.weights_sha256(), share, one) for one, share in zip(styles, shares, strict=True))
    percents = [f"{100 * share:.3g}" for share in shares]
    named = list(zip(styles, percents, strict=True))
    return MixedStyle(
        name=re.sub(r"[^a-z0-9_-]", "_", "-".join(f"{one.name}-{percent}" for one, percent in named))[:64],
        title=" + ".join(f"{one.title} {percent} %" for one, percent in named),
        painter=", ".join(dict.fromkeys(one.painter for one in styles)),
        work=", ".join(dict.fromkeys(one.work for one in styles)),
        licence=", ".join(dict.fromkeys(one.licence for one in styles)),
        training={
            "mixed": {one.name: share for one, share in zip(styles, shares, strict=True)},
            "settings": {"generator": {"canvas": sum(s * one.texture for one, s in zip(styles, shares, strict=True))}},
        },
        folder=first.folder,
        arch=first.arch,
        ranges=joined_ranges([one.ranges for one in styles]),
        mixed=_mixed(tuple(parts)),
    )


def joined_ranges(ranges: Sequence[Ranges]) -> Ranges:
    """Return the ranges that hold those of all styles; empty if one has none."""
    shared = set.intersection(*(set(one) for one in ranges))
    return {
        name: (_each(min, [one[name][0] for one in ranges]), _each(max, [one[name][1] for one in ranges]))
        for name in ranges[0]
        if name in shared
    }


def _each(choose: Callable[..., float], bounds: Sequence[Bounds]) -> Bounds:
    """Choose one of several bounds for each channel; a single one is that of all channels."""
    channels = max(len(one) for one in bounds)
    return tuple(choose(*each) for each in zip(*(one * (channels // len(one)) for one in bounds), strict=True))


def with_weights(style: StyleModel, weights: Mapping[str, npt.NDArray[np.floating]]) -> MixedStyle:
    """Return a style with other weights of the same shapes."""
    if isinstance(style, MixedStyle):
        return replace(style, mixed=weights)
    return MixedStyle(**{name: getattr(style, name) for name in StyleModel.__dataclass_fields__}, mixed=weights)


def check_shapes(one: StyleModel, other: StyleModel) -> None:
    """Raise StyleError unless two styles mix."""
    if dict(one.arch) != dict(other.arch):
        raise StyleError(f"{one.name} and {other.name} do not mix: their networks have different shapes", hint=HINT)


@dataclass(frozen=True, order=True)
class _Part:
    """A style of a mix and its share; equal to another if weights and share are.

    Attributes:
        digest: SHA-256 of the weights.
    """

    digest: str
    share: float
    style: StyleModel = field(compare=False)


@lru_cache(KEPT)
def _mixed(parts: tuple[_Part, ...]) -> dict[str, npt.NDArray[np.float16]]:
    known = [_known(replace(part, share=1.0)) for part in parts]
    shapes = [{name: value.shape for name, value in weights.items()} for weights, _ in known]
    if any(one != shapes[0] for one in shapes):
        raise StyleError("the weights of these styles have different shapes", hint=HINT)
    shares = [part.share for part in parts]
    mixed = mix_weights([weights for weights, _ in known], shares, [look for _, look in known])
    return {name: value.astype(np.float16) for name, value in mixed.items()}


@lru_cache(KEPT)
def _known(part: _Part) -> tuple[Tensors, Look]:
    weights = {name: value.astype(np.float32) for name, value in part.style.tensors().items()}
    return weights, look_of(weights)
