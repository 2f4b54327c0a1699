"""What a run learns from, in numbers, before it begins."""

from __future__ import annotations

from collections.abc import Iterator

from train.config.schema import DataConfig, TrainConfig
from train.data.batches import Material
from train.data.pictures import picture_files


def learned_from(config: TrainConfig, material: Material) -> str:
    """One line: how many photographs, works and pairs of frames there are."""
    data = config.data
    parts = [f"{_counted(len(material.pictures.files), 'photograph')} ({len(material.held_out)} held out)"]
    if data.style_picture is not None:
        parts.append("1 painting")
    if data.style_pictures is not None and (config.losses.adversarial or data.style_picture is None):
        parts.append(_counted(len(picture_files(data.style_pictures, "--style-pictures")), "work"))
    if material.pairs is not None:
        clips = _counted(len(material.pairs.entries), "clip")
        parts.append(f"{_counted(len(material.pairs), 'pair')} of frames from {clips}")
    return f"learning from {', '.join(parts)}"


def held_out_doubts(data: DataConfig, material: Material) -> Iterator[str]:
    """A line where fewer photographs can be held out than was asked for, or most of them are."""
    rest, held = material.pictures.files, material.held_out
    if len(held) < data.hold_out:
        stills = "stills of clips, frame_…, never are"
        yield f"{len(held)} of {data.hold_out} photographs could be held out: {stills}"
    if len(rest) < len(held):
        total = len(rest) + len(held)
        yield f"{len(held)} of {total} photographs are held out, and {len(rest)} left to learn from: lower --hold-out"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
