"""Faces: found where they are, whatever their size, and followed without jumps."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from engines.base import RGB
from engines.errors import EngineError, StyleError
from engines.vision.converted import ConvertedNetworks
from engines.vision.face_network import CELLS, FOLDER, SIDE, Face, FaceNetwork, faces
from rtstyle.masks.faces import FaceMask, squared

FACE, SCALE = ((205, 113), (243, 113), (224, 150)), 0.75
"""Eyes and mouth of the astronaut's portrait, (x, y), pixels, and how much smaller it is shown."""


@pytest.fixture(scope="module")
def network() -> FaceNetwork:
    return FaceNetwork()


def frame(x: int, y: int, height: int = 360, width: int = 640) -> RGB:
    """The astronaut's portrait with its corner at a place, before grey."""
    portrait = cv2.resize(data.astronaut(), None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_AREA)
    picture = np.full((height, width, 3), 128, np.uint8)
    part = picture[y : y + portrait.shape[0], x : x + portrait.shape[1]]
    part[:] = portrait[: part.shape[0], : part.shape[1]]
    return picture


class TestNetwork:
    def test_a_face_is_found_with_its_tilt(self, network: FaceNetwork) -> None:
        picture, centre = data.astronaut()[:300, 75:375], (149, 128)
        rolls = {}
        for degrees in (-30, 0, 30):
            turn = cv2.getRotationMatrix2D(centre, -degrees, 1)
            (face,) = network(squared(np.asarray(cv2.warpAffine(picture, turn, (300, 300)), np.uint8)))
            assert (face.x * 300, face.y * 300) == (pytest.approx(149, abs=10), pytest.approx(124, abs=10))
            assert 0.2 < face.width < 0.5 and face.score > 0.7
            rolls[degrees] = np.degrees(face.roll)
        assert rolls[30] - rolls[0] == pytest.approx(30, abs=6)
        assert rolls[-30] - rolls[0] == pytest.approx(-30, abs=6)

    @pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket", "brick"])
    def test_nothing_else_is_a_face(self, network: FaceNetwork, name: str) -> None:
        picture = getattr(data, name)()
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB) if picture.ndim == 2 else picture
        assert network(squared(picture)) == []

    def test_another_size_is_refused(self, network: FaceNetwork) -> None:
        with pytest.raises(EngineError, match="192×192 pixels, not 64×48"):
            network(np.zeros((48, 64, 3), np.uint8))

    def test_an_altered_file_is_refused(self, tmp_path: Path) -> None:
        for path in FOLDER.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        with (tmp_path / "face.bin").open("r+b") as file:
            file.write(b"\1")
        with pytest.raises(StyleError, match="altered"):
            ConvertedNetworks(tmp_path)
        (tmp_path / "manifest.json").unlink()
        with pytest.raises(StyleError, match="cannot be read"):
            ConvertedNetworks(tmp_path)


def test_predictions_of_one_face_are_averaged_by_their_scores() -> None:
    places, logits = np.zeros((CELLS**2, 16), np.float32), np.full(CELLS**2, -9.0, np.float32)
    cell = SIDE / CELLS
    for column, offset, logit in ((10, 0.0, 2.0), (11, 0.0, 2.0), (40, 0.0, 1.0)):
        places[20 * CELLS + column, :4] = offset, 0, 40, 40
        places[20 * CELLS + column, 6] = 8  # the left eye, level with the right one
        logits[20 * CELLS + column] = logit
    first, second = faces(places, logits)
    assert first.x * SIDE == pytest.approx(11 * cell) and second.x * SIDE == pytest.approx(40.5 * cell)
    assert (first.width, first.roll) == (pytest.approx(40 / SIDE), 0)
    assert first.score > second.score > 0.7


class Scripted(FaceNetwork):
    """Finds what it is told to find."""

    def __init__(self, *found: list[Face]) -> None:
        self._found = iter(found)

    def __call__(self, rgb: RGB) -> list[Face]:
        return next(self._found)


def face(x: float, y: float = 0.5, side: float = 0.2) -> Face:
    return Face(x, y, side, side, 0.0, 0.9)


def masks(*found: list[Face], height: int = 192, width: int = 192) -> list[np.ndarray]:
    mask = FaceMask(Scripted(*found))
    return [mask(np.zeros((height, width, 3), np.uint8)) for _ in found]


class TestMask:
    def test_the_face_is_inside_and_the_rest_outside(self, network: FaceNetwork) -> None:
        mask = FaceMask(network)(frame(100, 20))
        for x, y in FACE:
            assert mask[round(20 + y * SCALE), round(100 + x * SCALE)] > 0.95
        assert mask.shape == (360, 640) and mask.dtype == np.float32
        assert mask[:, :200].max() == mask[:, 350:].max() == mask[220:].max() == 0

    def test_the_border_is_soft(self) -> None:
        (mask,) = masks([face(0.5)])
        assert mask.min() == 0 and mask.max() == 1
        assert np.abs(np.diff(mask, axis=0)).max() < 0.25 and np.abs(np.diff(mask, axis=1)).max() < 0.25

    def test_the_place_does_not_depend_on_the_shape_of_the_frame(self) -> None:
        for height, width in ((360, 640), (640, 360), (360, 360)):
            (mask,) = masks([face(0.5)], height=height, width=width)
            rows, columns = np.nonzero(mask > 0.5)
            assert (rows.mean() + 0.5, columns.mean()) == (
                pytest.approx(height / 2 - 0.02 * 0.2 * max(height, width), abs=1),
                pytest.approx(width / 2, abs=1),
            )

    def test_what_trembles_is_steadied_and_what_moves_is_not_late(self) -> None:
        def x(mask: np.ndarray) -> float:
            return float((mask.sum(0) * np.arange(192)).sum() / mask.sum())

        trembling = [x(mask) for mask in masks(*([face(0.5 + 0.004 * (-1) ** n)] for n in range(20)))]
        assert np.ptp(trembling[5:]) < 0.5 * 0.008 * 192
        moving = [x(mask) for mask in masks(*([face(0.2 + 0.03 * n)] for n in range(20)))]
        assert moving[19] == pytest.approx((0.2 + 0.03 * 19) * 192, abs=0.5)

    def test_faces_of_the_first_frame_are_there_at_once_and_others_come_and_go_softly(self) -> None:
        both = [face(0.25), face(0.75)]
        peaks = [(mask[:, :96].max(), mask[:, 96:].max()) for mask in masks([both[0]], *[both] * 8, *[[both[0]]] * 20)]
        assert all(left == pytest.approx(1) for left, _ in peaks)
        right = np.array([right for _, right in peaks])
        assert right[0] == 0 and right[8] == 1 and right[-1] == 0
        assert np.abs(np.diff(right)).max() < 0.25
        assert right[9:13].min() == 1  # it may come back in a moment

    def test_forgotten_faces_do_not_stay(self) -> None:
        mask = FaceMask(Scripted([face(0.25)], [face(0.75)]))
        picture = np.zeros((192, 192, 3), np.uint8)
        mask(picture)
        mask.forget()
        second = mask(picture)
        assert second[:, :96].max() == 0 and second[:, 96:].max() == 1

    def test_faces_beyond_the_edge(self) -> None:
        for place in (face(0.0), face(1.0, 1.0), face(1.4), face(-0.5, -0.5)):
            (mask,) = masks([place])
            assert 0 <= mask.min() <= mask.max() <= 1
