"""A log line cannot make the sensor open just any file; a handmade table of expectations."""

from __future__ import annotations

from pathlib import Path

import pytest

from decnet.sensors.recordings import candidates
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
        ("eventids", 1, 2, [8]),
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
