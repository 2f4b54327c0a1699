"""Which of several video streams is the film, and files that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.stream import Disposition

from engines.errors import SourceError
from rtstyle.media.container import demux
from rtstyle.sources.file import FileSource
from rtstyle.video import VideoJob, stylize_video
from tests.rtstyle.clips import Clip, Seen, Still, number_of, numbered

DEFAULT, COVER, NOTHING = Disposition.default, Disposition.attached_pic, Disposition(0)


@dataclass(frozen=True)
class Track:
    """A video stream of a file with several; ``first`` is the number in its first picture."""

    frames: int
    height: int
    width: int
    disposition: Disposition = NOTHING
    first: int = 0
    codec: str = "libx264"


def write(path: Path, tracks: Sequence[Track], **options: str) -> Path:
    with av.open(str(path), "w", options=options) as out:
        videos = []
        for track in tracks:
            video = out.add_stream(track.codec, rate=25)
            video.width, video.height = track.width, track.height
            video.pix_fmt = "yuvj420p" if track.codec == "mjpeg" else "yuv420p"
            video.disposition = track.disposition
            videos.append(video)
        for video, track in zip(videos, tracks, strict=True):
            for i in range(track.frames):
                frame = av.VideoFrame.from_ndarray(numbered(track.first + i, track.height, track.width))
                frame.pts, frame.time_base = i, Fraction(1, 25)
                out.mux(video.encode(frame))
            out.mux(video.encode(None))
    return path


FILM = Track(20, 48, 64, first=100)
STILL = Track(1, 96, 128, DEFAULT, codec="mjpeg")
COVER_PICTURE = Track(1, 96, 128, COVER, codec="mjpeg")


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize(
    "tracks",
    [
        [STILL, STILL, FILM],
        [FILM, STILL],
        [Track(20, 16, 16, DEFAULT), FILM],
        [FILM, Track(5, 96, 128, DEFAULT)],
        [COVER_PICTURE, FILM],
        [FILM, Track(20, 48, 64, first=0)],
        [Track(20, 48, 64, first=0), Track(20, 48, 64, DEFAULT, first=100)],
    ],
    ids=["motion photo", "a still", "auxiliary", "a short one", "cover", "equals", "the default of equals"],
)
def test_the_film_is_found(tmp_path: Path, ending: str, tracks: list[Track]) -> None:
    source = FileSource(str(write(tmp_path / f"a.{ending}", tracks)))
    rgbs = [frame.rgb for frame in source.frames()]
    source.close()
    assert [number_of(rgb) for rgb in rgbs] == [*range(100, 120)]
    # Matroska stores covers as files, and has no flag for a track.
    films = [track for track in tracks if ending == "mkv" or track.disposition != COVER]
    choose = "--video-stream, in Python video_stream, chooses another"
    note = f"video streams: {len(films)}; the one of 64×48 is read ({choose})"
    assert source.warnings == ([note] if len(films) > 1 else [])


def test_another_stream_on_request(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [FILM, Track(10, 96, 128)])
    for number, size in ((1, (48, 64)), (2, (96, 128))):
        out = tmp_path / f"{number}.mp4"
        report = stylize_video(VideoJob(str(path), out, video_stream=number), Still)
        seen = Seen.of(out)
        assert (seen.height, seen.width) == size
        assert seen.numbers == ([*range(100, 120)] if number == 1 else [*range(10)])
        assert not [warning for warning in report.warnings if "video streams" in warning]


def test_a_longer_stream_is_no_loss(tmp_path: Path) -> None:
    """A film in fragments has no table of its frames, and the file as a whole is longer than its pictures."""
    path = write(tmp_path / "a.mp4", [Track(40, 48, 64), FILM], movflags="frag_keyframe+empty_moov")
    source = FileSource(str(path), video_stream=2)
    assert sum(1 for _ in source.frames()) == 20
    source.close()
    assert source.frames_lost == 0 and source.warnings == []


@pytest.mark.parametrize("number", [-1, 0, 3])
def test_a_stream_that_is_not_there(tmp_path: Path, number: int) -> None:
    path = write(tmp_path / "a.mp4", [FILM, FILM])
    with pytest.raises(SourceError, match=f"no video stream {number} .it has 2, counted from 1"):
        FileSource(str(path), video_stream=number)


def test_only_a_cover_is_no_video(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [COVER_PICTURE])
    with pytest.raises(SourceError, match="has no video"):
        FileSource(str(path))


def test_a_stream_that_appears_while_reading_is_no_error() -> None:
    """At the end PyAV looks for a stream that it has not listed."""

    class Container:
        def demux(self, *streams: object) -> Iterator[object]:
            yield streams[0]
            raise IndexError("list index out of range")

    container, stream = cast("Any", Container()), cast("Any", object())
    assert list(demux(container, stream)) == [stream]


class TestRefusals:
    """One line that says what is wrong."""

    def refused(self, path: Path, words: str, folder: Path) -> None:
        out = folder / "out.mp4"
        with pytest.raises(SourceError, match=words) as caught:
            stylize_video(VideoJob(str(path), out), Still)
        assert not out.exists()
        assert "damaged" not in str(caught.value)

    def test_encrypted(self, tmp_path: Path) -> None:
        options = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "76" * 16, "encryption_kid": "a7" * 16}
        path = Clip(frames=30, file_options=options).write(tmp_path / "a.mp4")
        self.refused(path, "a.mp4 is encrypted", tmp_path)

    def test_encrypted_with_a_codec_that_is_hidden(self, tmp_path: Path) -> None:
        path = Clip().write(tmp_path / "a.mp4")
        path.write_bytes(path.read_bytes().replace(b"avc1", b"drmi"))
        self.refused(path, "a.mp4 is encrypted", tmp_path)

    def test_unknown_codec(self, tmp_path: Path) -> None:
        path = Clip().write(tmp_path / "a.mp4")
        path.write_bytes(path.read_bytes().replace(b"avc1", b"xyz1"))
        self.refused(path, "uses the codec xyz1, which is not supported", tmp_path)

    def test_unknown_codec_without_a_name(self, tmp_path: Path) -> None:
        path = Clip().write(tmp_path / "a.mkv")
        path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XYZ"))
        self.refused(path, "uses an unknown codec", tmp_path)

    @pytest.mark.parametrize("brand", [b"heic", b"avif"])
    def test_picture(self, tmp_path: Path, brand: bytes) -> None:
        path = Clip(frames=1).write(tmp_path / "a.heic.mp4")
        data = path.read_bytes()
        assert data[4:8] == b"ftyp"
        path.write_bytes(data[:8] + brand + data[12:])
        self.refused(path, "is a picture .use `rtstyle image`", tmp_path)

    def test_motion_photo(self, tmp_path: Path) -> None:
        """A picture of a phone that holds a film, too, is a film here."""
        path = write(tmp_path / "a.mp4", [STILL, FILM])
        data = path.read_bytes()
        path.write_bytes(data[:8] + b"heic" + data[12:])
        source = FileSource(str(path))
        count = sum(1 for _ in source.frames())
        source.close()
        assert count == 20

    def test_animated_webp(self, tmp_path: Path) -> None:
        from PIL import Image

        pictures = [Image.fromarray(np.roll(numbered(0), i * 8, axis=1)) for i in range(3)]
        pictures[0].save(tmp_path / "a.webp", save_all=True, append_images=pictures[1:])
        with pytest.raises(SourceError, match="only `rtstyle video` reads animated WebP"):
            FileSource(str(tmp_path / "a.webp"), live=True)

    @pytest.mark.parametrize("ending", ["jpg", "png", "webp", "gif", "bmp", "tga", "tif", "ico", "ppm"])
    def test_photo(self, tmp_path: Path, ending: str) -> None:
        from PIL import Image

        path = tmp_path / f"a.{ending}"
        Image.fromarray(numbered(1)).save(path)
        self.refused(path, f"a.{ending} is a picture .use `rtstyle image`", tmp_path)


@pytest.mark.parametrize("start", [None, 0.1])
@pytest.mark.parametrize("ending", ["gif", "png"])
def test_pictures_that_move_are_a_film(tmp_path: Path, ending: str, start: float | None) -> None:
    from PIL import Image

    path, out = tmp_path / f"a.{ending}", tmp_path / "b.mp4"
    pictures = [Image.fromarray(numbered(i)) for i in (1, 2)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)
    stylize_video(VideoJob(str(path), out, start=start), Still)
    assert Seen.of(out).numbers == ([1, 2] if start is None else [2])


def test_a_film_of_one_frame_is_a_film(tmp_path: Path) -> None:
    path = Clip(frames=1).write(tmp_path / "a.mp4")
    assert stylize_video(VideoJob(str(path), tmp_path / "b.mp4"), Still).frames_out == 1
