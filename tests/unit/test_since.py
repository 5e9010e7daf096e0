"""View 0 and what it is made of: spans by name, marks that stay, who is read first, what is new, the strip."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from decnet.db.rows.since import SomeNew
from decnet.events.ttp import RAN_CODE
from decnet.ttp.severity import KINDS, Deed, judged
from decnet_tui.model import marks, spans
from decnet_tui.model.feed import Feed
from decnet_tui.model.marks import Marks, mark_of
from decnet_tui.model.scope import scope_of
from decnet_tui.model.since import (
    BEFORE,
    MAX_SOURCES,
    QUIET_S,
    TOLD,
    Found,
    Section,
    as_json,
    busiest,
    read_to,
    render,
    rhythm_counts,
    rhythm_ends,
    totals_line,
)
from decnet_tui.model.spans import Chosen
from decnet_tui.model.words import period
from decnet_tui.screens.since import SinceView
from decnet_tui.widgets import glyphs
from tests.consolekit import use_usual_keys
from tests.sincekit import EPOCH, nothing, source, spanned

NOW = datetime(2026, 3, 4, 14, 2, 11, tzinfo=UTC).timestamp()
DAY = 86_400.0
ALL = Chosen("all")


@pytest.fixture(autouse=True)
def _plain_glyphs() -> None:
    """Other tests leave theirs."""
    glyphs.use("ascii", {})


def found(rows: Any, **more: Any) -> Found:
    return Found(NOW, ALL, rows, **more)


def view_on(rows: Any) -> SinceView:
    view = SinceView(Feed())
    view.start_with(None, False, Marks(None, "eve"))
    view.load(found(rows))
    return view


def lines(view: SinceView) -> list[str]:
    return ["".join(text for text, _ in view.line(i, 79)) for i in range(view.count())]


# --- spans


@pytest.mark.parametrize(
    ("text", "label", "begin", "length"),
    [
        ("today", "2026-03-04", "2026-03-04", DAY),
        ("yesterday", "2026-03-03", "2026-03-03", DAY),
        (" 2025-12-31", "2025-12-31", "2025-12-31", DAY),
        ("03-04", "2026-03-04", "2026-03-04", DAY),
        ("3-5", "2025-03-05", "2025-03-05", DAY),
        ("2-29", "2024-02-29", "2024-02-29", DAY),
    ],
)
def test_a_day_is_a_day_of_utc_and_never_ahead(text: str, label: str, begin: str, length: float) -> None:
    chosen = spans.parsed(text, NOW)
    start = datetime.fromisoformat(begin).replace(tzinfo=UTC).timestamp()
    assert chosen == Chosen(label, start, start + length)


def test_a_duration_goes_back_from_now_and_all_is_all() -> None:
    assert spans.parsed("7d", NOW) == Chosen("7d", NOW - 7 * DAY)
    assert spans.parsed("ALL", NOW) == Chosen("all", 0.0, None)
    assert spans.parsed("24h", NOW).until(NOW) == NOW
    assert spans.parsed("yesterday", NOW).until(NOW) < NOW


@pytest.mark.parametrize("text", ["nonsense", "2-30", "13-01", "2026-02-30", "7", "99999-01-01"])
def test_what_is_no_span_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match="is no span: write 24h, 7d, today"):
        spans.parsed(text, NOW)


def test_when_is_told_by_clock_within_a_day_else_by_days() -> None:
    at = datetime(2026, 3, 4, 1, 32, tzinfo=UTC)
    assert period(at, at + timedelta(seconds=40), NOW) == "01:32"
    assert period(at, at + timedelta(minutes=2), NOW) == "01:32-01:34"
    assert period(at - timedelta(days=4), at, NOW) == "02-28 03-04"
    assert period(at, at + timedelta(minutes=2), NOW + 2 * DAY) == "03-04"


# --- marks


def test_marks_are_private_each_operators_own_and_there_the_next_time(tmp_path: Path) -> None:
    mark = mark_of(source(1))
    assert Marks(tmp_path, "eve").turn(mark, 1.0)
    assert stat.S_IMODE((tmp_path / marks.FILE_NAME).stat().st_mode) == 0o600
    bob = Marks(tmp_path, "bob")
    assert not bob.has(mark)
    bob.turn("other", 2.0)
    eve = Marks(tmp_path, "eve")
    assert eve.has(mark)
    assert not eve.turn(mark)
    assert not Marks(tmp_path, "eve").has(mark)
    assert Marks(tmp_path, "bob").has("other")


def test_a_source_that_does_something_else_is_unread_again_one_that_repeats_itself_is_not() -> None:
    row = source(1)
    assert mark_of({**row, "session_id": "later"}) == mark_of(row)
    assert mark_of({**row, "playbook": "pb-other"}) != mark_of(row)
    assert mark_of({**row, "playbook": None}) == "a1 s1"
    assert mark_of({}) == ""


@pytest.mark.parametrize("broken", ["{", "[]", '{"eve": 3}', '{"eve": {"a": "b"}}'])
def test_a_broken_file_of_marks_is_no_marks_and_is_mended(tmp_path: Path, broken: str) -> None:
    (tmp_path / marks.FILE_NAME).write_text(broken)
    own = Marks(tmp_path, "eve")
    own.turn("m", 1.0)
    assert json.loads((tmp_path / marks.FILE_NAME).read_text())["eve"] == {"m": 1.0}


def test_so_many_marks_are_kept_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "MOST", 3)
    own = Marks(None, "eve")
    for number in range(3):
        own.turn(f"m{number}", float(number))
    assert own.has("m0")
    own.turn("m3", 3.0)
    assert [own.has(f"m{number}") for number in range(4)] == [False, True, True, True]
    assert not own.lasting


# --- what is told


def test_totals_stand_beside_what_is_usual() -> None:
    totals = {"sources": 6, "sessions": 590, "got_in": 586, "ran_code": 2, "files": 5}
    rows = nothing(
        totals=totals,
        new_sources=6,
        new_from=EPOCH,
        usual={**totals, "sessions": 41, "sources": 4},
        usual_of=7,
    )
    assert totals_line(rows) == (
        "sources 6 (6 new, usual 4)   sessions 590 (usual 41)   got in 586 (usual 586)   ran code 2 (usual 2)   files 5 (usual 5)"
    )
    assert totals_line(rows._replace(usual=None, new_from=None)).startswith(
        "sources 6   sessions 590   got in"
    )


def test_a_block_is_two_lines_and_those_that_only_knocked_are_one() -> None:
    rows = spanned(
        source(1, new=True, unseen=True, sessions=3, playbooks=2),
        source(2, "low"),
        source(3, "info"),
        knocked=2,
    )
    first, new, needs, _ = render(found(rows), lambda ip: f"KE {ip}"[:13])
    assert [item.key for item in first.items] == ["a1", "a2", "knocked"]
    assert first.items[0].text == " !! 192.0.2.1       KE 192.0.2.1  NEW 03-03       web        3 sessions"
    assert first.items[0].below == ("    HIGH ran x (first time anywhere); 2 scripts",)
    assert first.items[1].below == ("    LOW ran x",)
    assert first.items[2].text == "    +3 sources that only knocked"
    assert (first.note, new.none, needs.items) == ("2 of 5 shown", "no session is stored", ())
    whole = render(found(rows), whole=True)[0]
    assert [item.key for item in whole.items] == ["a1", "a2", "a3", "more"]
    assert whole.items[-1].text == "    +2 more sources"


def test_what_is_new_is_one_line_a_kind_with_how_many_more() -> None:
    moment = datetime(2026, 3, 3, tzinfo=UTC)
    things = [
        {
            "value": f"{n}" * 64,
            "name": f"f{n}" if n else None,
            "first_seen": moment,
            "session_id": "s",
            "times": n,
        }
        for n in range(5)
    ]
    login = {"value": "root/#a1b2", "name": "root", "first_seen": moment, "session_id": "s", "times": 1}
    rows = nothing(
        new_from=moment, history=moment, files=SomeNew(9, things), credentials=SomeNew(1, [login]),
        techniques=[{"technique": "T1548", "first_seen": moment, "tags": 1, "attackers": 1}] * 3,
    )  # fmt: skip
    section = render(found(rows))[1]
    assert [item.text for item in section.items] == [
        "file    0000000, f1 1111111, f2 2222222, +6",
        "cred    root/#a1b2 accepted 1x",
        "technq  T1548 Abuse Elevation Control Mechanism, T1548 Abuse Elevation Control Mechanism, +1",
    ]
    assert render(found(rows._replace(files=SomeNew(0, ()), credentials=SomeNew(0, ()), techniques=())))[
        1
    ].none == ("nothing: all of it was seen before")
    assert render(found(nothing(history=moment)))[1].none == "nothing: the history begins 2026-03-03 00:00Z"


def test_the_strip_has_every_hour_of_the_span_and_as_many_parts_as_there_is_room_for() -> None:
    begin = datetime(2026, 3, 3, 20, 30, tzinfo=UTC)
    end = begin + timedelta(hours=6)
    counts = [(datetime(2026, 3, 3, 20, tzinfo=UTC), 2), (datetime(2026, 3, 4, 1, tzinfo=UTC), 5)]
    rows = nothing(begin=begin, end=end, rhythm=counts)
    assert rhythm_counts(rows, 60) == ([2, 0, 0, 0, 0, 5, 0], 3600.0)
    assert rhythm_counts(rows, 3) == ([2, 5, 0], 3 * 3600.0)
    assert rhythm_ends(rows) == ("20h", "02h")
    assert busiest(rows) == "busiest 01:00Z: 5"
    assert rhythm_counts(rows._replace(begin=EPOCH), 60)[0] == [2, 0, 0, 0, 0, 5], (
        "all that is stored begins with it"
    )
    assert rhythm_counts(nothing(), 60)[0] == []
    days = rows._replace(
        bucket_s=86_400, begin=begin - timedelta(days=9), rhythm=[(begin.replace(hour=0, minute=0), 4)]
    )
    assert (rhythm_ends(days), busiest(days)) == (("02-22", "03-04"), "busiest 03-03: 4")


def test_the_json_is_the_page_in_its_order() -> None:
    told = as_json(found(spanned(source(1), source(2, "low"))), 1)
    assert [row["attacker_ip"] for row in told["read_first"]] == ["192.0.2.1"]
    assert set(told["read_first"][0]) >= {
        "attacker_ip", "attacker_uuid", "identity_uuid", "severity", "severity_reason", "sessions", "playbooks", "first", "last",
        "new",
    }  # fmt: skip
    assert set(told["new_in_history"]) == {"new_from", "files", "hosts", "keys", "credentials", "techniques"}
    assert told["totals"]["usual"] is None


def test_patterns_of_the_database_know_the_words_for_code_of_its_own() -> None:
    def like(reason: str) -> bool:
        return any(pattern.strip("%") in reason for pattern in RAN_CODE)

    for kind in KINDS:
        said = [judged([Deed(kind, what, "fetched")])[1] for what in ("x", "")]
        assert [like(reason) for reason in said] == [kind == "ran"] * 2, kind


# --- the view


def test_the_followed_actor_is_looked_for_beyond_what_is_folded() -> None:
    view = view_on(spanned(*(source(n) for n in range(4)), source(9, "info")))
    assert "    +1 source that only knocked" in lines(view)
    view.set_scope(scope_of({"attacker_ip": "192.0.2.9", "attacker_uuid": "a9"}))
    assert [e.key for e in view.entries if e.key] == ["a9"]
    view.set_scope(None)
    assert "    +1 source that only knocked" in lines(view)


def test_a_filter_keeps_both_lines_of_a_block_or_none() -> None:
    view = view_on(spanned(source(1, severity_reason="ran miner"), source(2)))
    view.set_filter("miner")
    assert [e.key for e in view.entries if e.section == "read_first"] == [None, "a1", None]
    view.set_filter("192.0.2.2")
    assert "    HIGH ran x" in lines(view)
    assert not any("miner" in line for line in lines(view))


def test_the_cursor_stands_on_blocks_only_and_sees_their_second_line() -> None:
    view = view_on(spanned(*(source(n) for n in range(1, 9))))
    assert view.current is not None
    assert view.current.key == "a1"
    for _ in range(4):
        view.move(1, 5)
    assert view.current.key == "a5"
    assert view.top <= view.cursor
    assert view.cursor + 1 < view.top + 5, "the line below it is seen"
    view.move(10**9, 5)
    assert view.current.key == "a8"


def test_unread_goes_round_and_a_read_source_is_passed_over() -> None:
    view = view_on(spanned(source(1), source(2), source(3)))
    assert view.next_unread()
    assert view.current is not None
    assert view.current.key == "a2"
    view.turn_read(view.mark_here())
    assert [view.gutter(n) for n in range(view.count()) if view.entries[n].key] == ["*", " ", "*"]
    view.next_unread()
    view.next_unread()
    assert view.current.key == "a1"
    for key in ("a1", "a3"):
        view.cursor = next(n for n, e in enumerate(view.entries) if e.key == key)
        view.turn_read(view.mark_here())
    assert not view.next_unread()


def test_answers_for_another_span_are_dropped() -> None:
    view = view_on(spanned(source(1)))
    view.take("2026-03-01")
    view.load(found(spanned(source(2))))
    assert not view.loaded_at
    view.load(Found(NOW, spans.parsed("2026-03-01", NOW), spanned(source(3))))
    assert view.loaded_at
    assert view.status()[0].startswith("the day 2026-03-01 (UTC), by event time")
    assert view.next_span() == "all", "back from a day to the span before it"


def test_an_empty_span_says_what_to_do() -> None:
    view = view_on(nothing())
    assert view.count() == 0
    assert view.empty(80)[0] == "Nothing happened (everything that is stored)."
    assert MAX_SOURCES >= 20


def test_sections_are_told_in_the_order_of_the_design() -> None:
    told: list[Section] = render(found(spanned(source(1))))
    assert [section.title for section in told] == [
        "READ FIRST",
        "NEW IN YOUR HISTORY",
        "NEEDS YOU",
        "SINCE BEFORE",
    ]


# --- since before, and up to when the logs are read


def tie(number: int, family: str = "client", value: str = "a2de0f30", sources: int = 3) -> Any:
    return {"attacker_uuid": f"a{number}", "family": family, "value": value, "sources": sources}


def before_of(rows: Any) -> Section:
    return next(section for section in render(found(rows)) if section.name == BEFORE)


def test_what_a_source_shares_with_those_of_before_is_a_line_that_leads_to_it() -> None:
    many = [tie(1, "key", f"{n}", n) for n in range(TOLD)]
    rows = spanned(source(1), source(2), source(3), ties=[tie(2, sources=1), *many, tie(1)])
    items = before_of(rows).items
    assert [item.opens for item in items] == [("actors", "a1"), ("actors", "a2")], (
        "in the order in which they are read"
    )
    assert items[0].text.endswith("; same key 2 as 2 known sources, +1")
    assert items[1].text.split() == ["192.0.2.2", "same", "client", "a2de0f30", "as", "1", "known", "source"]
    assert items[1].data["attacker_ip"] == "192.0.2.2"
    shown = lines(view_on(rows))
    assert any(line.startswith("SINCE BEFORE") for line in shown)
    assert as_json(found(rows), 0)["since_before"][0] == tie(2, sources=1)
    hostile = before_of(spanned(source(1), ties=[tie(1, value="\x1b[2J" * 20)])).items[0].text
    assert "\x1b" not in hostile
    assert len(hostile) < 79


def test_nothing_shared_and_nothing_before_are_told_apart() -> None:
    begin = datetime(2026, 3, 3, tzinfo=UTC)
    known = spanned(source(1), begin=begin, history=begin - timedelta(days=1))
    assert before_of(known).none.startswith("nobody above shares")
    for history in (None, begin, begin + timedelta(days=1)):
        assert before_of(known._replace(history=history)).none == "nothing is stored of before this span"


def beat(*times: Any) -> Any:
    return {"worker": "sensors", "payload": {"sensors": [{"path": "p", "last_line_ts": ts} for ts in times]}}


@pytest.mark.parametrize(
    ("times", "text"),
    [
        ((NOW - 5, NOW - QUIET_S), "log read to 14:02"),
        ((NOW - QUIET_S,), "log read to 13:47"),
        ((NOW - QUIET_S - 1,), "log read to 13:47, quiet 15m01s"),
        ((NOW - DAY,), "log read to 03-03 14:02"),
        ((NOW + 2 * DAY, NOW - 3), "log read to 14:02"),
        ((None, "x", [1], float("nan")), ""),
        ((), ""),
    ],
)
def test_up_to_when_the_logs_are_read_is_said_and_whether_they_are_quiet(times: Any, text: str) -> None:
    assert read_to(found(nothing(), heartbeats=[beat(*times)])) == text


@pytest.mark.parametrize(
    "payload", [None, {}, {"sensors": None}, {"sensors": {"a": 1}}, {"sensors": ["x", None, 3]}]
)
def test_a_heartbeat_without_sensors_says_nothing_of_logs(payload: Any) -> None:
    assert read_to(found(nothing(), heartbeats=[{"worker": "sensors", "payload": payload}])) == ""


def test_the_head_of_since_says_up_to_when_the_logs_are_read_and_of_a_filter_only_where_there_is_one() -> (
    None
):
    use_usual_keys()
    view = SinceView(Feed())
    view.start_with(None, False, Marks(None, "eve"))
    view.load(found(spanned(source(1)), heartbeats=[beat(NOW - 5)]))
    left = view.status()[0]
    assert left == "everything that is stored, by event time   s span   log read to 14:02"
    view.set_filter("192")
    assert view.status()[0] == f"{left}   filter 192"
