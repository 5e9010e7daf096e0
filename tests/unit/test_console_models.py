"""Console models without a terminal: filters, scope, tables, forms, journal, command line, glyphs, summary."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.hostile import visible
from decnet.ids import attacker_id, identity_id
from decnet_tui.actions import undo
from decnet_tui.actions.forms import PlainForm, _until
from decnet_tui.actions.rule_form import RuleForm, stepped
from decnet_tui.actions.rules import RuleChange
from decnet_tui.actions.workers import WorkerForm
from decnet_tui.commands import COMMANDS, typed
from decnet_tui.commands.reading import short_path
from decnet_tui.keymap import Keys
from decnet_tui.launch.plain import PlainReader
from decnet_tui.model import export, journal, last_look, since
from decnet_tui.model.access import RuleRow
from decnet_tui.model.feed import Feed
from decnet_tui.model.filters import FilterError, parse_filter
from decnet_tui.model.journal import End
from decnet_tui.model.scope import scope_of
from decnet_tui.model.spans import Chosen
from decnet_tui.screens.base import wrapped
from decnet_tui.screens.help import HelpView
from decnet_tui.screens.palette import score
from decnet_tui.screens.table import Column, TableView, WordsColumn
from decnet_tui.screens.traffic import TrafficView
from decnet_tui.screens.workers import WorkersView
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.form import FormPane
from decnet_tui.widgets.prompt import Prompt, Question
from tests.consolekit import use_usual_keys
from tests.sincekit import nothing

NOW = 1_700_000_000.0


@pytest.fixture(autouse=True)
def _usual_keys() -> None:
    use_usual_keys()


RAW = b'{"payload":{"rule_ids":["R0001","R0012"],"username":"root","attacker_ip":"203.0.113.7","part":42}}'


@pytest.fixture(autouse=True)
def ascii_glyphs() -> Iterator[None]:
    glyphs.use("ascii", {})
    yield
    glyphs.use("ascii", {})


# --- filters


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rule:R0012", True),
        ("rule:R0099", False),
        ("-rule:R0012", False),
        ("user:ROOT", True),
        ("user:R0012", False),
        ("ip:203.0.113", True),
        ("part:42", True),
        ("/w.et/", True),
        ("/^nothing/", False),
        ("-/w.et/", False),
        ('"wget x"', True),
        ('"x wget"', False),
        ("/etc/passwd", False),
        ("2001:db8::1", False),
        ("http://x", False),
    ],
)
def test_filter_of_events(text: str, shown: bool) -> None:
    assert parse_filter(text).shows("ttp.tagged", "203.0.113.7", "wget x", RAW) is shown


@pytest.mark.parametrize(("text", "word"), [("/(/", "missing"), ("user:", "value"), ('""', "missing")])
def test_filter_errors_say_what_is_wrong(text: str, word: str) -> None:
    with pytest.raises(FilterError, match=word):
        parse_filter(text)


def test_a_table_filter_knows_its_columns() -> None:
    found = parse_filter("state:off ssh -x.>", ["id", "state"])
    assert found.shows_row({"id": "ssh", "state": "- OFF"})
    assert not found.shows_row({"id": "ssh", "state": "+ on"})
    with pytest.raises(FilterError, match="no column colour; there are id state"):
        parse_filter("colour:red", ["id", "state"])


def test_a_column_may_be_called_as_the_head_says() -> None:
    titles = {"sev": "severity", "state": "since"}
    found = parse_filter("sev:high", ["severity", "state"], titles)
    assert found.shows_row({"severity": "high", "state": "low"})
    assert not found.shows_row({"severity": "low", "state": "high"})
    own = parse_filter("state:on", ["severity", "state"], titles)
    assert own.shows_row({"severity": "", "state": "on"}), "a name is a name before it is a title"
    with pytest.raises(FilterError, match="no column colour"):
        parse_filter("colour:red", ["severity", "state"], titles)


def test_a_hostile_regular_expression_costs_nothing() -> None:
    with pytest.raises(FilterError):
        parse_filter("/" + "(" * 300 + "/")
    assert not parse_filter("/(a+)+$/").shows("ttp.tagged", "-", "a" * 5000 + "b", b"{}")


# --- scope


def test_an_address_alone_finds_the_ids_that_derive_from_it() -> None:
    scope = scope_of({"attacker_ip": "203.0.113.7"})
    assert scope is not None
    uuid = attacker_id("203.0.113.7")
    assert scope.covers([uuid])
    assert scope.covers_raw(b'{"identity_uuid":"%s"}' % identity_id(uuid).encode())
    assert not scope.covers_raw(b'{"attacker_ip":"203.0.113.77"}')
    assert scope.covers([["x", "203.0.113.7"]])
    assert scope_of({"rule_id": "R0001"}) is None


def test_a_merge_keeps_the_followed_actor_in_sight() -> None:
    scope = scope_of({"attacker_uuid": "a", "identity_uuid": "loser"})
    assert scope is not None
    assert scope.merged("winner", "loser").covers(["winner"])
    assert scope.merged("x", "y") is scope


def test_traffic_follows_one_actor() -> None:
    feed = Feed(ring=100)
    view = TrafficView(feed)
    for ip in ("203.0.113.7", "203.0.113.8", "203.0.113.7"):
        feed.add(Event("attacker.observed", {"attacker_ip": ip, "attacker_uuid": attacker_id(ip)}), now=NOW)
    feed.add(Event("ttp.tagged", {"attacker_uuid": attacker_id("203.0.113.7")}), now=NOW)
    view.sync(NOW)
    view.move(-3, 20)
    view.set_scope(view.actor())
    assert view.count() == 3
    assert "follow 203.0.113.7" in view.status()[0]


def test_a_full_ring_is_filtered_in_pieces_and_the_cursor_finds_its_event() -> None:
    feed = Feed(ring=8_000)
    view = TrafficView(feed)
    for i in range(8_000):
        feed.add(Event("decky.web-07.traffic", {"n": i, "even": str(i % 2)}), now=NOW)
    view.sync(NOW)
    view.move(-5_000, 20)
    at = view.detail_key()
    view.set_filter("/n=.*even=1/")
    first = view.count()
    assert 0 < first < 4_000
    assert "still to filter" in view.status()[0]
    view.set_filter("even=1")
    while view.sync(NOW):
        pass
    assert view.count() == 4_000
    assert view.detail_key() == at
    view.pause()
    view.set_filter("")
    while view.sync(NOW):
        pass
    assert (view.count(), view.detail_key()) == (8_000, at)


# --- tables


class Things(TableView):
    name = "things"
    unit = "things"
    columns: tuple[Column, ...] = (
        Column("id", "id", 4),
        Column("size", "size", 5, right=True),
        Column("name", "name", 6, grow=True),
    )


def things() -> Things:
    view = Things(Feed())
    view.load(
        [{"id": "a", "size": 3, "name": "x"}, {"id": "b", "size": 1, "name": "y"}, {"id": "c", "size": None}]
    )
    return view


def text_of(view: Any, index: int, width: int = 40) -> str:
    return "".join(text for text, _ in view.line(index, width))


def test_the_cursor_stays_on_its_row_through_sort_filter_and_reload() -> None:
    view = things()
    view.move(1, 10)
    view.sort(1), view.sort(1)
    assert [r["id"] for r in view.rows] == ["a", "b", "c"], "numbers: the greatest first"
    view.reverse()
    assert [r["id"] for r in view.rows] == ["b", "a", "c"]
    assert view.current is not None
    assert view.current["id"] == "b"
    view.load([{"id": "z", "size": 9}, {"id": "b", "size": 1}])
    assert view.current["id"] == "b"
    view.set_filter("id:b")
    assert view.count() == 1


def test_the_column_that_sorts_is_named_by_its_title_and_marked_in_the_narrowest() -> None:
    view = Things(Feed())
    view.columns = (Column("count", "tech", 4, right=True), Column("name", "name", 6, grow=True))
    assert view.sort(1).startswith("tech down")
    assert view.titles(40)[0][0].startswith(" TECHvname"), "its name is whole"  # type: ignore[index]
    assert view.sort(1).startswith("name up")
    assert view.sort(1) == "its own order"


def test_words_that_do_not_fit_are_counted() -> None:
    words = WordsColumn("w", "w", 14)
    row = {"w": "client credentials habit"}
    assert [words.cell(row, n).rstrip() for n in (24, 21, 12, 9, 6)] == [
        "client credentials habit",
        "client credentials +1",
        "client +2",
        "client +2",
        visible("client credentials habit", 6),
    ]
    assert len(words.cell(row, 30)) == 30


def test_columns_fit_and_can_be_chosen() -> None:
    view = things()
    assert len(text_of(view, 0)) == 40
    assert len(text_of(view, 0, 12)) <= 12
    view.choose_columns(["name", "id"])
    titles = view.titles(40)
    assert titles is not None
    assert "size" not in titles[0][0]
    with pytest.raises(FilterError, match="no column colour"):
        view.choose_columns(["colour"])


def test_marks_narrow_copy_and_export() -> None:
    view = things()
    assert len(view.records()) == 3
    view.move(1, 10)
    view.toggle_mark()
    assert [row["id"] for row in view.records()] == ["b"]
    assert json.loads(view.copy_text())["id"] == "b"
    assert view.gutter(1) == "#"


def test_an_empty_table_says_what_to_do() -> None:
    view = things()
    view.set_filter("nothing")
    assert "\\ clears" in "\n".join(view.empty(80))
    view.load([])
    assert view.empty(80)
    view.fail("no database")
    assert "no database" in view.empty(80)[0]


def test_workers_with_sensors_and_dead_letters() -> None:
    feed = Feed()
    sensors = [{"kind": "cowrie", "path": "/x\x1b[2J", "state": "missing", "age": None, "lines": 0}]
    feed.add(Event("system.sensors.health", {"state": "ok", "sensors": sensors}, ts=NOW), now=NOW)
    view = WorkersView(feed)
    view.load(
        [{"id": 3, "worker": "ttp", "topic": "a.b", "reason": "bad", "ts": datetime.now(UTC), "seq": 1}]
    )
    view.sync(NOW)
    text = "\n".join(text_of(view, i, 100) for i in range(view.count()))
    assert "! missing" in text
    assert "\x1b" not in text
    assert feed.silent_sensors() == 1
    assert [e.key for e in view.entries if e.key is not None] == ["/x\x1b[2J", "sensors", 3]
    assert view.gutter(2) == "!"
    view.move(10, 20)
    assert view.current is not None
    assert view.current.key == 3


def test_news_that_were_lost_show_with_the_worker_that_lost_them_and_only_then() -> None:
    feed = Feed()
    for worker, lost in (("recorder", 0), ("ttp", 3), ("behave", None)):
        payload = {"state": "ok", "note": "slow", "restarts": 1, "publish_failures": lost}
        feed.add(Event(f"system.{worker}.health", payload, ts=NOW), now=NOW)
    view = WorkersView(feed)
    view.sync(NOW)
    lines = {entry.key: text_of(view, i, 200) for i, entry in enumerate(view.entries) if entry.key}
    assert lines["ttp"].rstrip().endswith("slow  3 publish failures  1 restart")
    assert "publish failures" not in lines["recorder"] + lines["behave"]


# --- forms


RULE: RuleRow = {"rule_id": "R0001", "name": "n", "state": "enabled", "confidence_max": None, "expires_at": None,
                 "yaml": "emits:\n  - {technique_id: T1105, confidence: 0.85}\n  - {technique_id: T1059, confidence: 0.2}\n"}  # fmt: skip


def test_clip_steps_and_shows_what_falls_below_the_floor() -> None:
    form = RuleForm(RULE, "C", fired=4, floor=0.3)
    assert form.effect()[1] == "below the floor 0.30, no longer stored: T1059"
    for _ in range(11):
        form.key("left", None)
    assert form.value("max") == "0.25"
    assert form.effect()[1].endswith("T1059, T1105")
    assert stepped("0.85", 1, 0.85) == "0.85"
    assert stepped("x", -1, 0.85) == "0.80"


def test_a_duration_may_be_a_moment() -> None:
    now = datetime(2026, 3, 4, 14, 0, tzinfo=UTC)
    assert _until("18:00", now) == 4 * 3600
    assert _until("9:30", now) == 19.5 * 3600
    assert _until("2026-03-05 14:00", now) == 86_400
    for text in ("", "25:00", "yesterday", "2026-03-04 13:00"):
        with pytest.raises(ValueError, match=r"until|over"):
            _until(text, now)


def test_a_form_without_fields_asks_at_once() -> None:
    form = PlainForm("T", "do it", ["e"], RuleChange("R1", "enabled"))
    assert form.step == "confirm"
    form.paste("y")
    assert form.key("enter", "\r") == "cancel"
    assert PlainForm("T", "q", [], RuleChange("R1", "enabled")).key("y", "y") == "send"


def test_worker_form_refuses_an_unknown_action() -> None:
    form = WorkerForm("ttp", "ok", 0)
    form.set("action", "explode")
    form.key("enter", None)
    assert "stop, start" in form.error


def test_somebody_else_changed_it_meanwhile() -> None:
    form = RuleForm(RULE, "D")
    form.notice({**RULE, "state": "disabled", "set_by": "bob"})
    assert form.warning == "changed meanwhile by bob: now disabled"


# --- journal


def entry(number: int, minutes: float, **over: Any) -> dict[str, Any]:
    base = {
        "id": number, "ts": datetime.fromtimestamp(NOW, UTC) + timedelta(minutes=minutes), "operator": "eve",
        "kind": "rule.state", "target": "R0001", "what": "x", "before": {"state": "enabled"},
        "after": {"state": "disabled", "expires_at": None}, "outcome": "verified", "undoes": None,
    }  # fmt: skip
    return {**base, **over}


def expiring(minutes: float) -> dict[str, Any]:
    return {"state": "disabled", "expires_at": NOW + minutes * 60}


def test_the_journal_says_what_ended_by_itself() -> None:
    rows = journal.with_expiries([entry(1, 0, after=expiring(5))], NOW + 600)
    assert [r["what"] for r in rows] == ["R0001 enabled again", "x"]
    assert journal.with_expiries([entry(1, 0, after=expiring(5))], NOW + 60)[0]["id"] == 1


def test_a_state_that_was_replaced_before_its_end_did_not_end_by_itself() -> None:
    entries = [entry(2, 2), entry(1, 0, after=expiring(5))]
    assert len(journal.with_expiries(entries, NOW + 600)) == 2
    refused = [entry(2, 2, outcome=End.REFUTED.value), entry(1, 0, after=expiring(5))]
    assert len(journal.with_expiries(refused, NOW + 600)) == 3


def test_undo_restores_the_exact_former_state_once() -> None:
    before = {"state": "clipped", "confidence_max": 0.4, "expires_at": None, "reason": "old"}
    first = entry(1, 0, before=before)
    change = undo.undo_of(first)
    assert isinstance(change, RuleChange)
    assert change.after() == before
    assert change.undoes == 1
    assert undo.last_undoable([first], "eve") == first
    assert undo.last_undoable([entry(2, 1, undoes=1), first], "eve") is None
    assert undo.last_undoable([first], "bob") is None
    assert undo.undoable(entry(3, 0, outcome="NOT APPLIED"))
    assert undo.undoable(entry(4, 0, kind="worker.control"))


def test_undo_of_a_state_that_ended_meanwhile_is_the_rules_own() -> None:
    change = undo.undo_of(entry(1, 0, before=expiring(5)))
    assert isinstance(change, RuleChange)
    assert change.state == "enabled"


# --- command line, palette, keys


def test_command_line_finds_by_name_and_unique_beginning() -> None:
    assert getattr(typed.find(COMMANDS, "disable"), "id", "") == "rule.disable"
    assert getattr(typed.find(COMMANDS, "disa"), "id", "") == "rule.disable"
    assert typed.find(COMMANDS, "r") is None
    assert "no command xyz" in typed.problem(COMMANDS, "xyz")
    assert typed.problem(COMMANDS, "dis") == ""


def test_names_and_ids_are_unique() -> None:
    names = [c.spelled for c in COMMANDS]
    assert len(set(names)) == len(names)
    assert len({c.id for c in COMMANDS}) == len(COMMANDS)


def test_palette_prefers_whole_words() -> None:
    assert score("rule", "disable the rule") is not None
    assert (score("dis", "disable") or 0) < (score("dis", "d-i-s") or 0)
    assert score("xyz", "disable") is None


def test_no_lower_case_key_changes_anything_and_read_only_has_no_change() -> None:
    for command in COMMANDS:
        if command.changes and command.id not in ("alert.acknowledge", "alert.note"):
            assert all(len(k) > 1 or k.isupper() or k in "an" for k in Keys(COMMANDS).of(command)), command.id
    hidden = frozenset(c.id for c in COMMANDS if c.changes)
    assert Keys(COMMANDS, {}, hidden).find("D", "rules") is None


def test_keys_can_be_changed_by_their_looks() -> None:
    keys = Keys(COMMANDS, {"filter": "%"})
    assert getattr(keys.find("percent_sign", "traffic"), "id", "") == "filter"
    assert keys.find("slash", "traffic") is None
    assert keys.elsewhere("D") == ("rules",)


# --- glyphs


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"LANG": "de_DE.UTF-8"}, "unicode"),
        ({"LANG": "de_DE.ISO-8859-1"}, "ascii"),
        ({}, "ascii"),
        ({"LC_CTYPE": "C.UTF-8"}, "ascii"),
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8"}, "ascii"),
        ({"LANG": "en_US.utf8", "TERM": "linux"}, "ascii"),
    ],
)
def test_glyphs_by_locale(environ: dict[str, str], name: str) -> None:
    assert glyphs.use("auto", environ).name == name


def test_ascii_glyphs_leave_nothing_else_and_keep_the_width() -> None:
    assert glyphs.plain("a漢é…") == "a???~"
    glyphs.use("unicode", {})
    assert glyphs.plain("a漢é…") == "a漢é…"


@pytest.mark.parametrize("name", ["ascii", "unicode"])
def test_glyphs_are_one_cell_wide(name: str) -> None:
    from rich.cells import cell_len

    chosen = glyphs.use(name, {})
    assert all(cell_len(g) == 1 for g in (*chosen[1:10], chosen.rule, *chosen.spark))


# --- files


async def test_export_is_private_new_and_ascii(tmp_path: Path) -> None:
    records = [{"x": "é\x1b", "ts": datetime.fromtimestamp(NOW, UTC)}, b'{"y":1}']
    shown = export.Shown(["traffic"], records, export.sheet_of(records))
    first, count = await export.write(tmp_path, shown, "json")
    second, _ = await export.write(tmp_path, shown, "json")
    assert count == 2
    assert first != second
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert first.read_bytes().isascii()
    assert [json.loads(line) for line in first.read_text().splitlines()][1] == {"y": 1}


def test_last_look(tmp_path: Path) -> None:
    assert last_look.read(tmp_path, "eve") is None
    last_look.write(tmp_path, "eve", NOW)
    last_look.write(tmp_path, "bob", NOW + 1)
    assert last_look.read(tmp_path, "eve") == NOW
    (tmp_path / last_look.FILE_NAME).write_text("{")
    assert last_look.read(tmp_path, "eve") is None


# --- what is new


def moment(ago: float) -> datetime:
    return datetime.fromtimestamp(NOW - ago, UTC)


def test_what_needs_somebody_opens_the_view_that_tells_more() -> None:
    rows = nothing(
        begin=moment(3600), end=moment(0),
        journal=[{"id": n, "kind": "rule.state", "target": rule_id, "outcome": "verified", "ts": moment(60), "operator": "eve",
                  "before": {"state": "disabled"}, "after": {"state": "disabled", "expires_at": NOW - ago}}
                 for n, rule_id, ago in ((2, "R3", -10), (1, "R2", 10))],
        alerts=[{"alert_id": "x", "state": "open", "families": ["tempo"], "ts": moment(5), "attacker_uuids": ["a"]},
                {"alert_id": "y", "state": "acknowledged", "families": [], "ts": moment(5), "attacker_uuids": ["a"]}],
        addresses={"a": "203.0.113.7"},
        changes=[{"mutation_id": "m1", "target": "web-1", "state": "applied", "finished_at": moment(5), "reason": ""},
                 {"mutation_id": "m2", "target": "web-2", "state": "failed", "finished_at": moment(5), "reason": "no port"}],
    )  # fmt: skip
    found = since.Found(
        NOW, Chosen("1h", NOW - 3600), rows,
        rules=[{"rule_id": "R1", "error": "R1.yaml:1:1: bad"}, {"rule_id": "R2", "error": None},
               {"rule_id": "R4", "state": "disabled", "expires_at": NOW + 60, "set_by": "eve"},
               {"rule_id": "R5", "state": "clipped", "confidence_max": 0.4}],
        heartbeats=[{"worker": "ttp", "payload": {"state": "ok", "ts": NOW - 500}},
                    {"worker": "sensors", "payload": {"state": "ok", "ts": NOW, "sensors": [{"path": "/l", "state": "silent"}]}}],
    )  # fmt: skip
    told = next(one for one in since.render(found) if one.name == since.NEEDS).items
    assert [(item.key, item.opens, item.bad) for item in told] == [
        ("x", ("alerts", "x"), True), ("R1", ("rules", "R1"), True), ("R4", ("rules", "R4"), False),
        ("R5", ("rules", "R5"), False), ("R2 expired", ("rules", "R2"), False), ("m2", ("fleet", "web-2"), True),
        ("ttp", ("workers", "ttp"), True), ("/l", ("workers", "/l"), True),
    ]  # fmt: skip
    assert told[0].text == "alert 5s ago: 203.0.113.7 id: perhaps several operators, tempo"
    assert told[2].text == "rule R4 off until 11-14 22:14Z (eve)"
    assert told[3].text == "rule R5 clipped to 0.4"
    assert told[4].text == "rule R2 is enabled again: disabled expired 2023-11-14 22:13:10Z"
    assert since.is_empty(since.render(since.Found(NOW, Chosen("all"), nothing())))


def test_a_stopped_engine_is_no_engine_that_is_well() -> None:
    beats = [{"worker": "ttp", "payload": {"state": "stopped", "ts": NOW - 500}},
             {"worker": "bus", "payload": {"state": "ok", "ts": NOW - 500}}]  # fmt: skip
    told = since.render(since.Found(NOW, Chosen("all"), nothing(), heartbeats=beats))
    assert [i.text for part in told if part.name == since.NEEDS for i in part.items] == [
        "no engine runs here: every worker is stopped"
    ]


# --- plain mode


class Up:
    live = True
    retries = 0


def test_plain_mode_writes_events_and_states_once() -> None:
    feed = Feed(ring=100)
    reader = PlainReader(feed, Up(), "host")  # type: ignore[arg-type]
    feed.add(Event("ttp.tagged", {"techniques_added": ["T1105"]}), now=NOW)
    feed.add(Event("system.ttp.health", {"state": "ok"}, ts=NOW), now=NOW)
    lines = reader.lines(NOW)
    assert [line.split(maxsplit=1)[1] for line in lines[:2]] == ["host LIVE", "worker ttp: ok"]
    assert "ttp.tagged" in lines[2]
    assert reader.lines(NOW) == []
    for _ in range(150):
        feed.add(Event("ttp.tagged", {}), now=NOW)
    assert "(50 events came faster" in reader.lines(NOW)[0]


# --- what a first morning with it showed


def test_sorting_goes_to_the_top_and_begins_with_the_newest_time() -> None:
    view = Things(Feed())
    view.columns = (Column("seen", "last seen", 19), Column("size", "size", 5, right=True))
    days = [datetime(2026, 11, day, tzinfo=UTC) for day in (3, 9, 6)]
    view.load([{"id": f"t{i}", "size": i, "seen": day} for i, day in enumerate(days)])
    view.cursor = 2
    assert view.sort(1).startswith("last seen down")
    assert [r["id"] for r in view.rows] == ["t1", "t2", "t0"]
    assert view.cursor == 0
    view.cursor = 2
    view.reverse()
    assert (view.cursor, view.rows[0]["id"]) == (0, "t0")


def test_help_cuts_no_word_in_80_columns() -> None:
    view = HelpView(Feed(), Keys(COMMANDS).help_lines())
    shown = ["".join(text for text, _ in view.line(i, 79)) for i in range(view.count())]
    assert max(map(len, shown)) <= 79
    assert "those that fired on the actor" in " ".join(" ".join(shown).split())


def test_a_path_that_does_not_fit_keeps_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/bob")
    assert short_path(Path("/home/bob/data/a.jsonl"), 40) == "~/data/a.jsonl"
    cut = short_path(Path("/srv/a/very/long/directory/actors-20261121T201750Z.jsonl"), 36)
    assert len(cut) == 36
    assert cut.endswith("/actors-20261121T201750Z.jsonl")


def test_a_worker_that_stands_is_offered_to_start() -> None:
    assert [WorkerForm("ttp", s, 0).value("action") for s in ("ok", "stopped", "paused")] == [
        "restart", "start", "resume"]  # fmt: skip
    with pytest.raises(ValueError, match="start it first"):
        WorkerForm("ttp", "stopped", 0, "pause").change(NOW)


def test_a_line_that_came_by_itself_says_why_it_cannot_be_undone() -> None:
    row = {"kind": "rule.state", "operator": journal.NOBODY}
    assert undo.undoable(row) == "it came by itself"


def test_what_is_wrong_with_a_line_is_said_whole() -> None:
    prompt = Prompt(id="prompt")
    prompt.question = Question("/ ", lambda accepted, text: None)
    prompt.text, prompt.error = (
        "> -system.> ttp.rule.> -ttp.rule.fired.T1110 curl",
        "ttp.>.x: > stands alone at the end",
    )
    line = "".join(text for text, _ in prompt.build(80, 1)[0])
    assert prompt.error in line
    assert "curl" in line
    prompt.error, prompt.hint = "", "  ".join(f"L{n:04}" for n in range(40))
    assert sum(len(text) for text, _ in prompt.build(80, 1)[0]) <= 80


def test_help_explains_the_signs_and_where_this_run_keeps_its_data() -> None:
    view = HelpView(Feed(), Keys(COMMANDS).help_lines(), "/srv/decnet")
    shown = "\n".join("".join(text for text, _ in view.line(i, 79)) for i in range(view.count()))
    assert "#            marked with space" in shown
    assert "/srv/decnet: where commands find this engine" in shown


def test_a_wrapped_line_ends_at_a_space_that_is_near_and_loses_nothing() -> None:
    text = "one person who always pairs the same tool with the same account and way of working"
    lines = wrapped([text, "", "x" * 45, "a b" + "c" * 30], 24)
    assert "".join(lines) == text + "x" * 45 + "a b" + "c" * 30
    assert lines[0] == "one person who always "
    assert max(map(len, lines)) <= 24
    assert lines.count("") == 1


def test_the_keys_of_a_form_are_whole_on_a_narrow_screen() -> None:
    pane = FormPane(id="form")
    pane.form = WorkerForm("ttp", "ok", 0)
    for width, words in (
        (80, "left/right choose   Enter review   Esc cancel"),
        (60, "Enter review   Esc cancel"),
    ):
        lines = ["".join(text for text, _ in line) for line in pane.build(width, 8)]
        assert any(line.endswith(words) and len(line) < width for line in lines)


@pytest.mark.parametrize(("age", "said"), [(0.0, "  1 worker and the bus ok"), (40.0, "  1 worker ok")])
def test_the_bus_is_called_ok_only_while_it_is(
    monkeypatch: pytest.MonkeyPatch, age: float, said: str
) -> None:
    feed = Feed()
    monkeypatch.setattr("decnet_tui.screens.workers.time", SimpleNamespace(time=lambda: NOW))
    feed.add(Event("system.ttp.health", {"state": "ok"}, ts=NOW), now=NOW)
    feed.add(Event("system.bus.health", {"state": "ok"}, ts=NOW - age), now=NOW)
    assert WorkersView(feed).status()[0].endswith(said)
