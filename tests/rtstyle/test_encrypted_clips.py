"""Clips that need a key, of pay television, DVDs, Matroska and MP4: said at once, never stylized as damaged frames."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest

from engines.errors import SourceError
from rtstyle.sources.file import FileSource
from rtstyle.video import VideoJob, stylize_video
from tests.rtstyle.clips import Clip, Seen, Still
from tests.rtstyle.tracks import stylize

PICTURES, SOUND = 0x100, 0x101
"""PIDs that FFmpeg's muxer gives to the first two streams."""

TRACKS, TRACK, ENCODINGS, ENCODING, TYPE, ENCRYPTION, KEY_ID = (
    bytes.fromhex(number) for number in ("1654ae6b", "ae", "6d80", "6240", "5033", "5035", "47e2")
)
SEGMENT, INFO, CLUSTER = (bytes.fromhex(number) for number in ("18538067", "1549a966", "1f43b675"))


def refused(path: Path) -> None:
    out = path.with_name("out.mp4")
    for live in (False, True):
        with pytest.raises(SourceError, match=f"{path.name} is encrypted"):
            FileSource(str(path), live=live)
    with pytest.raises(SourceError, match=f"{path.name} is encrypted"):
        stylize_video(VideoJob(str(path), out), Still)
    assert not out.exists()


def broadcast(path: Path, *, discs: bool = False) -> Path:
    options = {"mpegts_m2ts_mode": "1" if discs else "0"}
    clip = Clip(frames=50, sound="ac3", time_base=Fraction(1, 90_000), file_options=options)
    return clip.write(path)


def scramble(path: Path, pids: set[int], *, header_bits: int = 0x80, pes_bits: int = 0, size: int = 188) -> Path:
    """Set the bits of a scrambler and change what it would: whole payloads, or only behind the header of a picture."""
    noise, data = random.Random(1), bytearray(path.read_bytes())
    for place in range(size - 188, len(data), size):
        pid = (data[place + 1] & 0x1F) << 8 | data[place + 2]
        if pid not in pids or not data[place + 3] & 0x10:
            continue
        first = place + 4 + (1 + data[place + 4] if data[place + 3] & 0x20 else 0)
        data[place + 3] |= header_bits
        if pes_bits and data[place + 1] & 0x40:
            data[first + 6] |= pes_bits
            first += 9 + data[first + 8]
        for i in range(first, place + 188):
            data[i] ^= noise.randrange(256)
    path.write_bytes(data)
    return path


class TestTransportStream:
    def test_its_packets(self, tmp_path: Path) -> None:
        refused(scramble(broadcast(tmp_path / "a.ts"), {PICTURES, SOUND}))

    def test_behind_the_headers_of_its_pictures(self, tmp_path: Path) -> None:
        refused(scramble(broadcast(tmp_path / "a.ts"), {PICTURES, SOUND}, header_bits=0, pes_bits=0x20))

    def test_of_a_disc(self, tmp_path: Path) -> None:
        path = broadcast(tmp_path / "a.m2ts", discs=True)
        pids = {pid for pid in range(0x20, 0x1FFF) if pid not in (0x100, 0x1000, 0x1001, 0x11, 0x1F)}
        refused(scramble(path, pids, header_bits=0xC0, size=192))

    def test_only_its_sound(self, tmp_path: Path) -> None:
        path = scramble(broadcast(tmp_path / "a.ts"), {SOUND})
        report = stylize(path, tmp_path / "b.mp4")
        assert [w for w in report.warnings if "encrypted" in w] == [
            "the audio track 1 (ac3, eng) is left out: it is encrypted"
        ]
        assert set(Seen.of(tmp_path / "b.mp4").packets) == {"video"}

    def test_a_clear_one_is_read(self, tmp_path: Path) -> None:
        path = broadcast(tmp_path / "a.ts")
        path.write_bytes(b"junk" + path.read_bytes())
        report = stylize(path, tmp_path / "b.mp4")
        assert report.frames_out == 50 and report.warnings == ()


def dvd(path: Path) -> Path:
    with av.open(str(path), "w", format="vob") as out:
        video = out.add_stream("mpeg2video", rate=25)
        video.width, video.height, video.pix_fmt, video.bit_rate = 320, 240, "yuv420p", 4_000_000
        noise = random.Random(1)
        for _ in range(50):
            frame = av.VideoFrame(320, 240, "yuv420p")
            for plane in frame.planes:
                plane.update(noise.randbytes(plane.buffer_size))
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


@pytest.mark.parametrize("scrambled", [False, True])
def test_dvd(tmp_path: Path, scrambled: bool) -> None:
    """Sectors have 2048 bytes, of which the first 128 stay clear."""
    path, noise = dvd(tmp_path / "a.vob"), random.Random(2)
    if not scrambled:
        assert stylize(path, tmp_path / "b.mp4").frames_out == 50
        return
    data = bytearray(path.read_bytes())
    for sector in range(0, len(data) - 2047, 2 * 2048):  # every second one
        start = sector + 14 + (data[sector + 13] & 7)
        if data[start + 3] & 0xF0 == 0xE0:
            data[start + 6] |= 0x10
            data[sector + 128 : sector + 2048] = noise.randbytes(1920)
    path.write_bytes(data)
    refused(path)


def element(number: bytes, body: bytes) -> bytes:
    return number + (len(body) | 1 << 56).to_bytes(8) + body


def elements(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (identifier, contents) of the elements one after the other; RFC 8794."""
    while data:
        length = 9 - data[0].bit_length()
        number, data = data[:length], data[length:]
        length = 9 - data[0].bit_length()
        size = int.from_bytes(data[:length]) & ((1 << 7 * length) - 1)
        yield number, data[length : length + size]
        data = data[length + size :]


def matroska(path: Path, encoding: Callable[[int], bytes]) -> Path:
    """Write a clip with sound; ``encoding`` returns what to add to each track."""
    Clip(frames=30, sound="aac").write(path)
    header, (_, segment) = elements(path.read_bytes())
    kept = []
    for number, body in elements(segment):
        if number == TRACKS:
            tracks = [track for number, track in elements(body) if number == TRACK]
            changed = (element(TRACK, track + encoding(i)) for i, track in enumerate(tracks))
            kept.append(element(TRACKS, b"".join(changed)))
        elif number in (INFO, CLUSTER):
            kept.append(element(number, body))
    path.write_bytes(element(*header) + element(SEGMENT, b"".join(kept)))
    return path


def with_key(key: bytes) -> bytes:
    algorithm = element(bytes.fromhex("47e1"), b"\x05")
    protection = element(ENCRYPTION, algorithm + (element(KEY_ID, key) if key else b""))
    return element(ENCODINGS, element(ENCODING, element(TYPE, b"\x01") + protection))


class TestMatroska:
    @pytest.mark.parametrize("key", [b"0123456789abcdef", b""], ids=["with the name of a key", "without"])
    def test_its_pictures(self, tmp_path: Path, key: bytes) -> None:
        refused(matroska(tmp_path / "a.mkv", lambda track: with_key(key) if track == 0 else b""))

    @pytest.mark.parametrize("key", [b"0123456789abcdef", b""], ids=["with the name of a key", "without"])
    @pytest.mark.parametrize("ending", ["mkv", "mp4"])
    def test_only_its_sound(self, tmp_path: Path, key: bytes, ending: str) -> None:
        path = matroska(tmp_path / "a.mkv", lambda track: with_key(key) if track == 1 else b"")
        report = stylize(path, tmp_path / f"b.{ending}")
        assert [w for w in report.warnings if "encrypted" in w] == [
            "the audio track 1 (aac, eng) is left out: it is encrypted"
        ]
        assert set(Seen.of(tmp_path / f"b.{ending}").packets) == {"video"}

    def test_compression_is_no_encryption(self, tmp_path: Path) -> None:
        """Some programs strip what all packets begin with; here nothing."""
        stripped = element(bytes.fromhex("5034"), element(bytes.fromhex("4254"), b"\x03"))
        encoding = element(ENCODINGS, element(ENCODING, element(TYPE, b"\x00") + stripped))
        report = stylize(matroska(tmp_path / "a.mkv", lambda _: encoding), tmp_path / "b.mkv")
        assert report.warnings == () and set(Seen.of(tmp_path / "b.mkv").packets) == {"video", "audio"}


@pytest.mark.parametrize("codec", [b"enca", b"drms"])
@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_only_the_sound_of_mp4(tmp_path: Path, codec: bytes, ending: str) -> None:
    path = Clip(sound="aac").write(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes().replace(b"mp4a", codec))
    report = stylize(path, tmp_path / f"b.{ending}")
    assert report.warnings == ("the audio track 1 (aac, eng) is left out: it is encrypted",)
    assert set(Seen.of(tmp_path / f"b.{ending}").packets) == {"video"}
