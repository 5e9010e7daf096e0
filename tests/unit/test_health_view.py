"""View 6: sensors first with what befell their files, then database and bus with the cause, workers one line each."""

from __future__ import annotations

from typing import Any

import pytest

from decnet.bus.base import Event
from decnet_tui.model.feed import Feed
from decnet_tui.screens.workers import ENGINE, MAX_CHANGES, SENSORS, WORKERS, WorkersView
from decnet_tui.widgets import glyphs

NOW = 1_700_000_000.0
LOG = "/srv/cowrie/var/log/cowrie/cowrie.json"


@pytest.fixture(autouse=True)
def ascii_glyphs() -> None:
    glyphs.use("ascii", {})


def view_of(*beats: tuple[str, dict[str, Any]]) -> WorkersView:
    """The view a second after these heartbeats."""
    feed = Feed()
    for worker, payload in beats:
        feed.add(
            Event(f"system.{worker}.health", {"worker": worker, "state": "ok", **payload}, ts=NOW), now=NOW
        )
    view = WorkersView(feed)
    view.sync(NOW + 1)
    return view


def shown(*beats: tuple[str, dict[str, Any]]) -> list[tuple[str, Any, str, bool]]:
    """Section, key, text and mark of each line."""
    view = view_of(*beats)
    return [(e.section, e.key, "".join(text for text, _ in e.line), e.bad) for e in view.entries]


def sensor(**more: Any) -> tuple[str, dict[str, Any]]:
    row = {
        "kind": "cowrie",
        "path": LOG,
        "state": "ok",
        "age": 3.0,
        "lines": 812,
        "bytes_behind": 0,
        "refused": 0,
        "reasons": {},
    }
    return "sensors", {"sensors": [{**row, **more}]}


@pytest.mark.parametrize(
    ("width", "told", "path"),
    [
        (79, {}, "...og/cowrie/cowrie.json"),
        (93, {}, LOG),
        (92, {}, f"...{LOG[4:]}"),
        (100, {"reasons": {"bad json": 2}}, f"...{LOG[8:]}  bad json 2"),
        (79, {"reasons": {"bad json": 2}}, "...og/cowrie/cowrie.json  bad json 2"),
    ],
)
def test_a_sensor_s_path_is_cut_in_front_to_the_room_that_there_is(
    width: int, told: dict[str, Any], path: str
) -> None:
    """At its end files differ; what is wrong stands behind it."""
    view = view_of(sensor(**told))
    (at,) = [n for n, entry in enumerate(view.entries) if entry.key == LOG]
    assert "".join(text for text, _ in view.line(at, width))[55:] == path
    assert LOG in view.sheet().rows[0][1], "an export has it whole"


def test_sensors_stand_first_then_database_and_bus_then_workers() -> None:
    lines = shown(("ttp", {}), ("bus", {"url": "nats://x"}), sensor(), ("database", {}))
    assert [(section, key) for section, key, *_ in lines if key is not None] == [
        (SENSORS, LOG), (ENGINE, "database"), (ENGINE, "bus"), (WORKERS, "sensors"), (WORKERS, "ttp"),
    ]  # fmt: skip


def test_what_befell_the_files_stands_below_the_sensor_with_its_time_the_newest_first() -> None:
    changes = [
        {"what": "rotated (renamed)", "path": LOG, "to": f"{LOG}.{n}", "ts": NOW - 60 + n}
        for n in range(MAX_CHANGES)
    ]
    changes.append({"what": "truncated", "path": LOG, "ts": NOW, "unread_bytes": 512})
    lines = [
        text for section, key, text, _ in shown(sensor(changes=changes)) if section == SENSORS and key is None
    ][1:]
    assert len(lines) == MAX_CHANGES
    assert lines[0].startswith("  11-14 22:13:20 truncated, 512 bytes unread  ...")
    assert lines[1].startswith("  11-14 22:12:22 rotated (renamed)  ...")
    assert " to ..." in lines[1]


def test_why_lines_were_refused_and_what_is_wrong_with_files_is_said_there() -> None:
    told = sensor(state="missing", refused=2, reasons={"bad json": 2}, last_refusal=f"{LOG}:14: bad json",
                  problems={LOG: "missing", "/srv/other.json": "permission denied"})  # fmt: skip
    lines = [text for section, _, text, _ in shown(told) if section == SENSORS]
    assert "  ! /srv/other.json: permission denied" in lines
    assert f"  refused last: {LOG}:14: bad json" in lines
    assert not any(text.endswith(": missing") for text in lines), "the state says that already"


def test_a_locked_database_is_marked_with_who_and_since_when() -> None:
    note = "the database is locked by process 4711 (python3), since 22:13:18Z"
    ((text, bad),) = [
        (t, b) for s, k, t, b in shown(("database", {"state": "locked", "note": note})) if k == "database"
    ]
    assert bad
    assert text.startswith("database    ! locked")
    assert note in text


@pytest.mark.parametrize(
    "junk",
    [{"changes": "x"}, {"changes": [1, {}]}, {"problems": 7}, {"changes": [{"ts": "x", "unread_bytes": -1}]}],
)
def test_a_heartbeat_may_hold_anything(junk: dict[str, Any]) -> None:
    assert shown(sensor(**junk))


def test_what_a_heartbeat_says_reaches_no_terminal_as_it_is() -> None:
    nasty = "\x1b[2J[@click=x]"
    lines = shown(sensor(changes=[{"what": nasty, "path": nasty, "to": nasty}], problems={nasty: nasty}, refused=1, last_refusal=nasty),
                  ("database", {"note": nasty, "state": nasty}))  # fmt: skip
    assert not any("\x1b" in text for _, _, text, _ in lines)
