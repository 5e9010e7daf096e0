"""A log line cannot make the sensor open just any file; recordings up to the bound; a handmade table of expectations."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.bus.wire import MAX_BLOB_BYTES
from decnet.config import SensorSettings
from decnet.errors import BusFull
from decnet.sensors import recordings
from decnet.sensors.recordings import attach_recording, candidates, read_recording
from tests.unit.test_sensor_cowrie import HANDMADE, feed, make, of

LOG = Path("/srv/cowrie/log/cowrie.json")
SHA = "a" * 64


@pytest.mark.parametrize("name", ["/etc/passwd", "../../etc/passwd", f"../{SHA}/x", "/proc/self/mem", ""])
def test_only_recordings_are_opened(name: str) -> None:
    assert candidates(LOG, name) == []


@pytest.mark.parametrize("name", [f"/etc/{SHA}", f"../../../etc/{SHA}"])
def test_a_recording_outside_its_folder_is_looked_for_inside(name: str) -> None:
    assert candidates(LOG, name) == [Path("/srv/cowrie/log/tty") / SHA]


@pytest.mark.parametrize(
    ("stem", "sessions", "commands", "durations"),
    [
        ("v1_float_duration", 1, 2, [9.2]),
        ("v2_text_duration", 1, 1, [1.4]),
        ("no_duration", 3, 1, [7, 1, 1.5]),
        ("numbers_as_text", 1, 2, [4]),
        ("eventids", 1, 3, [8]),
        ("broken_lines", 1, 2, [3]),
    ],
)
def test_handmade_expectations(stem: str, sessions: int, commands: int, durations: list[float]) -> None:
    path = next(p for p in HANDMADE if p.stem == stem)
    source = make()
    ended = of(feed(source, path.read_bytes()) + source.end_all(), "session.ended")
    assert len(ended) == sessions
    assert sum(p["command_count"] for p in ended) == commands
    assert sorted(p["duration_s"] for p in ended) == pytest.approx(sorted(durations), abs=0.01)


OLD_NAME = "20240102-030405-abcdef123456-0i.log"


@pytest.mark.parametrize("name", [SHA, OLD_NAME])
def test_a_recording_is_looked_for_beside_the_log_and_a_few_levels_up(name: str) -> None:
    home = Path("/srv/honey/cowrie/var/log/cowrie")
    levels = [home, *home.parents[:4]]
    assert candidates(home / "cowrie.json", f"var/lib/tty/{name}") == [
        home / "tty" / name, *(up / "var/lib/tty" / name for up in levels),
    ]  # fmt: skip
    assert levels[-1] == Path("/srv/honey")
    assert candidates(home / "cowrie.json", f"/other/tty/{name}") == [
        home / "tty" / name,
        Path(f"/other/tty/{name}"),
    ]
    assert candidates(home / "cowrie.json", f"/other/../tty/{name}") == [home / "tty" / name]


@pytest.mark.parametrize(
    "name",
    [SHA[1:], SHA + "a", "A" * 64, SHA + "\n", "tty/x.log", "20240102-030405-.log", "20240102-030405-" + "x" * 65 + ".log",
     OLD_NAME + "x", "2024010-030405-ab.log", "\u0662" * 8 + "-030405-ab.log"],
)  # fmt: skip
def test_only_names_that_cowrie_gives_are_opened(name: str) -> None:
    assert candidates(LOG, f"tty/{name}") == []


def recording(folder: Path, size: int) -> Path:
    (folder / "tty").mkdir(exist_ok=True)
    path = folder / "tty" / SHA
    path.write_bytes(b"k" * size)
    return folder / "cowrie.json"


@pytest.mark.parametrize(("size", "taken"), [(0, False), (1, True), (9, True), (10, True), (11, False)])
def test_a_recording_is_read_up_to_the_bound(tmp_path: Path, size: int, taken: bool) -> None:
    assert read_recording(recording(tmp_path, size), f"tty/{SHA}", 10) == (b"k" * size if taken else None)


def test_a_directory_of_logs_has_its_recordings_below(tmp_path: Path) -> None:
    recording(tmp_path, 3)
    assert read_recording(tmp_path, f"x/{SHA}", 10) == b"kkk"


def test_what_is_no_file_or_cannot_be_read_gives_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "cowrie.json"
    assert read_recording(log, f"tty/{SHA}", 10) is None
    (tmp_path / "tty" / SHA).mkdir(parents=True)
    assert read_recording(log, f"tty/{SHA}", 10) is None
    (tmp_path / "tty" / SHA).rmdir()
    recording(tmp_path, 3)

    def refuse(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert read_recording(log, f"tty/{SHA}", 10) is None


class Blobs:
    """A bus that keeps blobs, or is full."""

    def __init__(self, full: bool = False) -> None:
        self.full = full
        self.kept: dict[str, bytes] = {}

    async def put_blob(self, key: str, data: bytes) -> None:
        if self.full:
            raise BusFull("full")
        self.kept[key] = data


async def attached(log: Path, ttylog: object, bus: Any, limit: int = 10) -> dict[str, Any]:
    event = Event("attacker.session.ended", {"ttylog": ttylog})
    with contextlib.suppress(BusFull):
        await attach_recording(event, bus, log, limit)
    return event.payload


async def test_the_event_names_the_blob_once_it_is_stored(tmp_path: Path) -> None:
    log, key, bus = recording(tmp_path, 3), hashlib.sha256(b"kkk").hexdigest(), Blobs()
    assert await attached(log, f"tty/{SHA}", Blobs(full=True)) == {"ttylog": f"tty/{SHA}"}, (
        "to be tried again"
    )
    assert await attached(log, f"tty/{SHA}", bus) == {"keystrokes_ref": key}
    assert bus.kept == {key: b"kkk"}


async def test_a_recording_that_is_not_there_or_too_large_is_left_out(tmp_path: Path) -> None:
    log, bus = recording(tmp_path, 11), Blobs()
    assert await attached(log, f"tty/{SHA}", bus) == {}
    assert await attached(log, "/etc/passwd", bus) == {}
    assert await attached(log, 5, bus) == {"ttylog": 5}
    assert bus.kept == {}


async def test_no_recording_is_read_that_no_bus_would_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(recordings, "read_recording", lambda _log, _name, limit: asked.append(limit))
    for limit in (MAX_BLOB_BYTES - 1, MAX_BLOB_BYTES, MAX_BLOB_BYTES + 1):
        await attached(tmp_path, "x", Blobs(), limit)
    assert asked == [MAX_BLOB_BYTES - 1, MAX_BLOB_BYTES, MAX_BLOB_BYTES]
    assert SensorSettings().max_tty_bytes == MAX_BLOB_BYTES == 8 * 2**20
