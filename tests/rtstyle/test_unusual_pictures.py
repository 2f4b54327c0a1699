"""Pictures with EXIF, fields, transparency, or another size than the first."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from engines.base import RGB
from rtstyle.frame import Frame
from rtstyle.media.deinterlace import Deinterlacer
from rtstyle.sinks.file import FileSink
from rtstyle.sources.file import FileSource
from rtstyle.video import VideoJob, stylize_video
from tests.rtstyle.clips import Clip, Seen, Still, frames, number_of, numbered
from tests.rtstyle.streams import FolderServer

FPS = 25


def read(path: Path | str, **options: Any) -> tuple[list[Frame], FileSource]:
    source = FileSource(str(path), **options)
    got = list(source.frames())
    source.close()
    return got, source


def write(path: Path, pictures: list[RGB], codec: str, form: str, *, field_order: int = 0, **options: str) -> Path:
    """Encode pictures, (H, W, 3) or with opacity (H, W, 4)."""
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=FPS, options=options)
        video.codec_context.field_order = field_order
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = form
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgba" if picture.shape[2] == 4 else "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            out.mux(video.encode(frame.reformat(format=form)))
        out.mux(video.encode(None))
    return path


class TestExif:
    """Cameras put EXIF into each picture of an MJPEG stream."""

    @pytest.fixture
    def clip(self, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
        exif = Image.Exif()
        exif[0x0112] = getattr(request, "param", 1)
        path = tmp_path / "a.avi"
        with av.open(str(path), "w") as out:
            video = out.add_stream("mjpeg", rate=FPS)
            video.width, video.height, video.pix_fmt = 64, 48, "yuvj420p"
            for number in range(10):
                jpeg = io.BytesIO()
                Image.fromarray(numbered(number)).save(jpeg, "JPEG", exif=exif, quality=95)
                packet = av.Packet(jpeg.getvalue())
                packet.stream, packet.time_base, packet.pts, packet.dts = video, Fraction(1, FPS), number, number
                out.mux(packet)
        return path

    @pytest.mark.parametrize("live", [False, True])
    def test_it_is_ignored(self, clip: Path, live: bool) -> None:
        got, source = read(clip, live=live)
        assert [number_of(frame.rgb) for frame in got] == [*range(10)]
        assert source.warnings == []

    @pytest.mark.parametrize(
        ("clip", "upright"),
        [
            (2, lambda rgb: rgb[:, ::-1]),
            (3, lambda rgb: rgb[::-1, ::-1]),
            (6, lambda rgb: np.rot90(rgb, -1)),
            (5, lambda rgb: rgb.transpose(1, 0, 2)),
            (7, lambda rgb: rgb[::-1, ::-1].transpose(1, 0, 2)),
        ],
        indirect=["clip"],
        ids=["mirrored", "upside down", "sideways", "transposed", "transposed the other way"],
    )
    def test_its_orientation_is_kept(self, clip: Path, upright: Any) -> None:
        got, _ = read(clip)
        expected = upright(numbered(3))
        assert got[3].rgb.shape == expected.shape
        assert np.abs(got[3].rgb.astype(int) - expected).mean() < 8

    def test_over_http(self, clip: Path, tmp_path: Path) -> None:
        with FolderServer(tmp_path) as server:
            got, _ = read(f"{server.url}/{clip.name}", live=True)
        assert [number_of(frame.rgb) for frame in got] == [*range(10)]


class TestInterlaced:
    @staticmethod
    def fields(count: int) -> list[RGB]:
        """A white bar that moves between the two fields of a picture, as a camera with fields sees it."""
        pictures = []
        for number in range(count):
            picture = np.zeros((96, 128, 3), np.uint8)
            for field in (0, 1):
                left = 8 + 4 * (2 * number + field)
                picture[field::2, left : left + 24] = 255
            pictures.append(picture)
        return pictures

    @classmethod
    def clip(cls, path: Path, count: int = 10) -> Path:
        options = {"flags": "+ilme+ildct", "x264-params": "tff=1", "crf": "4"}
        return write(path, list(cls.fields(count)), "libx264", "yuv420p", **options)

    @staticmethod
    def comb(rgb: RGB) -> float:
        """Mean difference between a row and the mean of its neighbours."""
        grey = rgb[..., 1].astype(int)
        return float(np.abs(grey[1:-1] - (grey[:-2] + grey[2:]) / 2).mean())

    def test_they_lose_their_comb(self, tmp_path: Path) -> None:
        got, source = read(self.clip(tmp_path / "a.mp4"))
        combs = [self.comb(frame.rgb) for frame in got]
        assert self.comb(self.fields(1)[0]) > 15
        assert max(combs) < 4, combs
        assert [frame.pts * frame.time_base for frame in got] == [Fraction(i, FPS) for i in range(10)]
        assert source.warnings == ["interlaced frames: 10; deinterlaced"]

    @pytest.mark.parametrize("ending", ["mp4", "mkv"])
    def test_the_output_is_marked_progressive(self, tmp_path: Path, ending: str) -> None:
        out = tmp_path / f"b.{ending}"
        stylize_video(VideoJob(str(self.clip(tmp_path / "a.mp4")), out), Still)
        with av.open(str(out)) as file:
            pictures = list(file.decode(video=0))
            assert not any(picture.interlaced_frame for picture in pictures)
            assert file.streams.video[0].codec_context.field_order <= 1
        assert len(pictures) == 10

    def test_only_a_part_is_interlaced(self, tmp_path: Path) -> None:
        progressive = Clip(frames=10, height=96, width=128).write(tmp_path / "a.ts").read_bytes()
        path = tmp_path / "c.ts"
        path.write_bytes(progressive + self.clip(tmp_path / "b.ts").read_bytes() + progressive)
        got, source = read(path)
        assert len(got) == 30
        assert "interlaced frames: 10; deinterlaced" in source.warnings
        whole = [got[i] for i in (*range(10), *range(20, 30))]
        assert [number_of(frame.rgb) for frame in whole] == [*range(10)] * 2
        reference, _ = read(tmp_path / "a.ts")
        for frame, expected in zip(whole, [*reference, *reference], strict=True):
            assert np.array_equal(frame.rgb, expected.rgb)
        assert max(self.comb(frame.rgb) for frame in got[10:20]) < 4

    @pytest.mark.parametrize(("codec", "form"), [("mjpeg", "yuvj422p"), ("png", "rgb24"), ("jpeg2000", "yuv422p")])
    @pytest.mark.parametrize("order", [2, 3, 4, 5], ids=["tt", "bb", "tb", "bt"])
    def test_only_the_container_says_so(self, tmp_path: Path, codec: str, form: str, order: int) -> None:
        """The wrong field first would show the bar where it is half a picture later."""
        upper_first = order in (2, 5)
        fields = self.fields(6)
        if not upper_first:
            fields = [np.ascontiguousarray(picture[::-1]) for picture in fields]
        got, source = read(write(tmp_path / "a.mov", fields, codec, form, field_order=order))
        assert max(self.comb(frame.rgb) for frame in got) < 4
        assert source.warnings == ["interlaced frames: 6; deinterlaced"]
        for number, frame in enumerate(got[1:-1], start=1):
            bright = np.flatnonzero(frame.rgb[10:-10, :, 1].mean(0) > 127)
            assert abs(bright[0] - (8 + 8 * number)) <= 1

    def test_the_pictures_know_better_than_the_container(self, tmp_path: Path) -> None:
        pictures = [numbered(number) for number in range(5)]
        _, source = read(write(tmp_path / "a.mov", pictures, "prores_ks", "yuv422p10le", field_order=2))
        assert source.warnings == []

    def test_a_part_of_the_clip(self, tmp_path: Path) -> None:
        got, source = read(self.clip(tmp_path / "a.mp4"), start=0.2, end=0.32)
        assert source.warnings == ["interlaced frames: 3; deinterlaced"]
        assert [frame.pts * frame.time_base for frame in got] == [Fraction(i, FPS) for i in (5, 6, 7)]

    def test_progressive_pictures_are_passed_as_they_are(self, tmp_path: Path) -> None:
        with av.open(str(Clip(frames=5).write(tmp_path / "a.mp4"))) as file:
            pictures = list(file.decode(video=0))
        deinterlace = Deinterlacer()
        passed = deinterlace(iter(pictures))
        for picture in pictures:
            assert next(passed) is picture
        assert not deinterlace.changed


def half_hidden(number: int) -> npt.NDArray[np.uint8]:
    """A numbered picture whose right half is transparent, over a hidden colour."""
    rgb = numbered(number)
    alpha = np.full((*rgb.shape[:2], 1), 255, np.uint8)
    alpha[:, rgb.shape[1] // 2 :] = 0
    rgb[:, rgb.shape[1] // 2 :] = (255, 0, 255)
    return np.concatenate([rgb, alpha], axis=2)


class TestTransparency:
    @pytest.mark.parametrize(
        ("ending", "codec", "form"),
        [
            ("mov", "png", "rgba"),
            ("mov", "qtrle", "argb"),
            ("mov", "prores_ks", "yuva444p10le"),
            ("apng", "apng", "rgba"),
            ("webm", "libvpx-vp9", "yuva420p"),
            ("webm", "libvpx", "yuva420p"),
        ],
    )
    def test_what_is_hidden_is_black(self, tmp_path: Path, ending: str, codec: str, form: str) -> None:
        pictures = [half_hidden(number) for number in range(4)]
        options = {"auto-alt-ref": "0"} if codec == "libvpx" else {}
        got, source = read(write(tmp_path / f"a.{ending}", pictures, codec, form, **options))
        assert len(got) == 4
        for number, frame in enumerate(got):
            assert frame.rgb.flags.c_contiguous and frame.rgb.shape == (48, 64, 3)
            assert frame.rgb[:, 40:].max() <= 8
            assert np.abs(frame.rgb[:, :28].astype(int) - numbered(number)[:, :28]).mean() < 12
        assert source.warnings == ["transparent parts are shown on black"]

    def test_half_opaque_is_half_as_bright(self, tmp_path: Path) -> None:
        picture = np.full((48, 64, 4), 200, np.uint8)
        picture[..., 3] = 128
        got, _ = read(write(tmp_path / "a.mov", [picture], "png", "rgba"))
        assert np.abs(got[0].rgb.astype(int) - 200 * 128 / 255).max() <= 1

    def test_a_palette(self, tmp_path: Path) -> None:
        picture = Image.new("P", (64, 48), 0)
        picture.putpalette([255, 0, 255, 0, 200, 0])
        picture.paste(1, (0, 0, 32, 48))
        picture.save(tmp_path / "a.gif", transparency=0)
        got, source = read(tmp_path / "a.gif")
        assert got[0].rgb[24, 48].tolist() == [0, 0, 0]
        assert got[0].rgb[24, 16].tolist() == [0, 200, 0]
        assert source.warnings == ["transparent parts are shown on black"]

    def test_opaque_pictures_are_unchanged(self, tmp_path: Path) -> None:
        opaque = np.concatenate([numbered(5), np.full((48, 64, 1), 255, np.uint8)], axis=2)
        got, source = read(write(tmp_path / "a.mov", [opaque], "png", "rgba"))
        assert np.array_equal(got[0].rgb, numbered(5))
        assert source.warnings == []


class TestSizeChange:
    """Broadcasts and calls change the size of their pictures."""

    @pytest.fixture
    def clip(self, tmp_path: Path) -> Path:
        parts = [Clip(frames=5, height=h, width=w).write(tmp_path / f"{w}.ts") for h, w in ((96, 128), (96, 64))]
        path = tmp_path / "a.ts"
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
        return path

    def test_it_is_fitted_with_bars(self, clip: Path, tmp_path: Path) -> None:
        out = tmp_path / "b.mp4"
        report = stylize_video(VideoJob(str(clip), out), Still)
        assert (report.width, report.height) == (128, 96)
        assert "frames of another size: 5; fitted into 128×96 with black bars" in report.warnings
        with av.open(str(out)) as file:
            pictures = [picture.to_ndarray(format="rgb24") for picture in file.decode(video=0)]
        assert [number_of(rgb) for rgb in pictures[:5]] == [*range(5)]
        assert [number_of(rgb[:, 32:96]) for rgb in pictures[5:]] == [*range(5)]
        for rgb in pictures[5:]:
            assert rgb[:, :30].max() < 20 and rgb[:, 98:].max() < 20

    def test_pixels_of_another_shape_keep_theirs(self, tmp_path: Path) -> None:
        """720×576 with wide pixels and 1024×576 with square ones fill the same screen."""
        wide = Clip(frames=3, height=48, width=60, pixel_aspect=Fraction(64, 45)).write(tmp_path / "1.ts").read_bytes()
        square = Clip(frames=3, height=96, width=170).write(tmp_path / "2.ts").read_bytes()
        (tmp_path / "a.ts").write_bytes(wide + square)
        got, source = read(tmp_path / "a.ts")
        assert source.pixel_aspect == Fraction(64, 45)
        assert got[0].rgb.shape == (48, 60, 3)
        assert got[-1].rgb.shape[0] == 96
        assert got[-1].rgb.shape[1] == pytest.approx(120, abs=1)

    def test_a_live_recording(self, tmp_path: Path) -> None:
        path = tmp_path / "a.mp4"
        sink = FileSink(path, live=True)
        small, large = frames(2, height=48, width=64), frames(2, height=96, width=64)
        for frame in (*small, *large):
            sink.write(frame)
        sink.close(completed=True)
        assert sink.warnings == ["frames of another size: 2; fitted into 64×48 with black bars"]
        seen = Seen.of(path)
        assert (seen.height, seen.width) == (48, 64)
        last = seen.last.to_ndarray(format="rgb24")
        assert last[:, :12].max() < 20 and last[:, -12:].max() < 20
        assert number_of(last[:, 16:48]) == 1
