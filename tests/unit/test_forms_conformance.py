"""What every inline form keeps to: only a typed y sends, only free fields take text, and values stay within bounds.

A later form is added to ``FORMS``; one that is not there fails the first test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from textual import events

import decnet_tui
from decnet.config import Settings
from decnet_tui.actions.alerts import AlertState, ResolveForm, acknowledging, reopening
from decnet_tui.actions.backfill import BackfillForm
from decnet_tui.actions.fleet import IntervalForm, RotationForm
from decnet_tui.actions.forms import MAX_SECONDS, MAX_TEXT, Field, Form, PlainForm, parse_duration
from decnet_tui.actions.links import LinkForm
from decnet_tui.actions.notes import NoteForm
from decnet_tui.actions.rule_form import RuleForm, emitted, stepped
from decnet_tui.actions.rules import RuleChange
from decnet_tui.actions.sources import IgnoreForm
from decnet_tui.actions.workers import WorkerForm
from decnet_tui.model.access import RuleRow
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.form import FormPane
from decnet_tui.widgets.prompt import MAX_TEXT as MAX_LINE
from decnet_tui.widgets.prompt import Prompt, Question
from tests.fuzzkit import CONTROLS, FORMATS, SEQUENCES, obeyed

_FORM = re.compile(r"^class (\w+)\(\w*Form\):", re.MULTILINE)
NOW = 1_700_000_000.0
MOMENT = datetime(2026, 3, 4, 14, 0, tzinfo=UTC)
NASTY = "".join((*CONTROLS, *SEQUENCES, *FORMATS, "[@click=app.quit]x[/]", "\ud800"))
YAML = "emits:\n  - {technique_id: T1105, confidence: 0.85}\n  - {technique_id: T1059, confidence: 0.3}\n"


def rule_row(**over: Any) -> RuleRow:
    base = {
        "rule_id": "R0001",
        "name": "n",
        "state": "enabled",
        "confidence_max": None,
        "expires_at": None,
        "yaml": YAML,
    }
    return {**base, **over}  # type: ignore[typeddict-item, return-value]


def resolving(found: str) -> ResolveForm:
    form = ResolveForm("a1", "203.0.113.7", 2)
    form.set("found", found)
    return form


DECKY = {"name": "web-01", "live": 2, "observed": ["ssh"], "mutate_interval": "12h"}
FORMS: dict[str, tuple[Callable[[], Form], set[str]]] = {
    "disable": (lambda: RuleForm(rule_row(), "D"), {"reason"}),
    "enable": (lambda: RuleForm(rule_row(), "E"), {"reason"}),
    "clip": (lambda: RuleForm(rule_row(), "C"), {"reason"}),
    "worker": (lambda: WorkerForm("ttp", "ok", 3), set()),
    "acknowledge": (lambda: acknowledging("a1", "203.0.113.7"), set()),
    "reopen": (lambda: reopening("a1", "203.0.113.7", "resolved"), set()),
    "resolve": (lambda: resolving("two people"), {"note"}),
    "note": (lambda: NoteForm("alert", "a1", "203.0.113.7"), {"note"}),
    "ignore": (lambda: IgnoreForm("203.0.113.7"), {"source", "reason"}),
    "ignore all": (lambda: IgnoreForm("203.0.113.7", "i-1", ["203.0.113.8"]), {"source", "reason"}),
    "link": (lambda: LinkForm("192.0.2.1", "192.0.2.2", ("a", "b"), True), {"reason"}),
    "cut": (lambda: LinkForm("192.0.2.1", "192.0.2.2", ("a", "b"), False), {"reason"}),
    "unsay": (lambda: LinkForm("192.0.2.1", "192.0.2.2", ("a", "b"), None), {"reason"}),
    "interval": (lambda: IntervalForm(DECKY, Settings()), set()),
    "rotation": (lambda: RotationForm(DECKY, "3s", 60.0), {"reason"}),
    "backfill": (lambda: BackfillForm("R0001", "n", ["--db", "x"]), set()),
    "plain": (lambda: PlainForm("T", "do it", ["e"], RuleChange("R1", "enabled")), set()),
}
"""Each with the fields that take any text."""
EACH = pytest.mark.parametrize("name", FORMS)


@pytest.fixture(autouse=True)
def ascii_glyphs() -> Iterator[None]:
    glyphs.use("ascii", {})
    yield
    glyphs.use("ascii", {})


def made(name: str) -> Form:
    """A form whose free fields are filled in, so that it can be reviewed."""
    form = FORMS[name][0]()
    for field in form.fields:
        if field.free and not field.value:
            form.set(field.name, "words")
    return form


def reviewed(name: str) -> Form:
    form = made(name)
    if form.step == "edit":
        assert form.key("enter", "\r") == ""
    assert (form.step, form.error) == ("confirm", "")
    return form


def test_every_form_of_the_console_is_in_this_suite() -> None:
    sources = Path(decnet_tui.__file__).parent.rglob("*.py")
    own = {name for path in sources for name in _FORM.findall(path.read_text("utf-8"))}
    assert own == {type(maker()).__name__ for maker, _ in FORMS.values()}


# --- what sends


@EACH
def test_only_a_typed_y_after_the_review_sends(name: str) -> None:
    form = made(name)
    if form.fields:
        assert form.key("y", "y") == "", "before the review it is a letter"
    form = reviewed(name)
    assert form.key("y", "y") == "send"
    for key, character in (
        ("Y", "Y"), ("enter", "\r"), ("escape", None), ("tab", "\t"), ("n", "n"), ("y", None), ("space", " "),
    ):  # fmt: skip
        form = reviewed(name)
        outcome = form.key(key, character)
        assert outcome == ("" if key == "escape" and form.fields else "cancel"), key
        assert form.step == "edit"
        typed = "" if key in ("escape", "enter") else character or ""
        assert form.typed == typed


@EACH
def test_a_paste_never_confirms_and_never_leaves(name: str) -> None:
    form = reviewed(name)
    before = [f.value for f in form.fields]
    for text in ("y", "y\n", "\r", "\x1b"):
        form.paste(text)
        assert form.step == "confirm"
    assert [f.value for f in form.fields] == before


@EACH
def test_esc_leaves_a_form_that_is_filled_in_and_tab_goes_round_both_ways(name: str) -> None:
    form = made(name)
    if not form.fields:
        assert (form.step, form.field) == ("confirm", None)
        return
    count = len(form.fields)
    for key, by in (("tab", 1), ("down", 1), ("shift+tab", -1), ("up", -1)):
        at = form.at
        form.key(key, None)
        assert form.at == (at + by) % count
    form.at = count - 1
    form.key("tab", "\t")
    assert form.at == 0
    assert form.key("escape", None) == "cancel"


# --- what fields take


@EACH
def test_the_fields_that_take_any_text_are_these(name: str) -> None:
    form = FORMS[name][0]()
    assert {field.name for field in form.fields if field.free} == FORMS[name][1]


@EACH
def test_a_paste_goes_into_free_fields_only_and_without_what_no_key_can_type(name: str) -> None:
    form = made(name)
    for at, field in enumerate(form.fields):
        form.at = at
        before = field.value
        form.paste(" own  scanner\r\n(OPS-311) ")
        assert field.value == (before + "own scanner (OPS-311)" if field.free else before)
        for piece in (*CONTROLS, *SEQUENCES, *FORMATS, "\ud800"):
            field.value = "a"
            form.paste(f"{piece}b")
            assert field.value.isprintable()
            assert field.value[-1] == ("b" if field.free else "a")


@EACH
def test_text_ends_at_its_limit_typed_pasted_or_set(name: str) -> None:
    form = FORMS[name][0]()
    for at, field in enumerate(form.fields):
        form.at = at
        for size in (MAX_TEXT - 1, MAX_TEXT, MAX_TEXT + 1):
            form.set(field.name, "a" * size)
            assert len(field.value) == min(size, MAX_TEXT)
        form.set(field.name, "a" * (MAX_TEXT - 1))
        field.fresh = False
        form.key("b", "b")
        assert field.value == "a" * (MAX_TEXT - 1) + "b"
        form.key("c", "c")
        assert field.value == "a" * (MAX_TEXT - 1) + "b"
        if field.free:
            form.set(field.name, "a" * (MAX_TEXT - 1))
            form.paste("bc")
            assert field.value == "a" * (MAX_TEXT - 1) + "b"


@EACH
def test_no_key_types_a_control_byte(name: str) -> None:
    form = made(name)
    for at, field in enumerate(form.fields):
        form.at, before = at, field.value
        for character in (*CONTROLS, "\u202e", "\u200b", "\ud800"):
            if character not in "\t\r\x1b\x7f":
                form.key("x", character)
        assert field.value == before


def test_a_field_of_choices_starts_anew_and_a_free_one_goes_on() -> None:
    chosen, free = Field("for", "1h", choices=("1h", "4h")), Field("reason", "own", free=True)
    for field in (chosen, free):
        field.key("9", "9")
        field.key("0", "0")
    assert (chosen.value, free.value) == ("90", "own90")
    chosen, free = Field("for", "1h", choices=("1h", "4h")), Field("reason", "own", free=True)
    for field in (chosen, free):
        field.key("backspace", None)
    assert (chosen.value, free.value) == ("", "ow")
    free.key("ctrl+u", None)
    assert free.value == ""


def test_choices_go_round_and_what_was_typed_is_none_of_them() -> None:
    field = Field("for", "a", choices=("a", "b", "c"))
    seen = []
    for key in ("right", "right", "right", "left"):
        field.key(key, None)
        seen.append(field.value)
    assert seen == ["b", "c", "a", "c"]
    for key, wanted in (("right", "a"), ("left", "c")):
        field.value = "typed"
        field.key(key, None)
        assert field.value == wanted
    free = Field("reason", "x", free=True)
    free.key("right", None)
    assert free.value == "x"


# --- how they look


@EACH
def test_a_form_shows_nothing_that_a_terminal_obeys_and_is_as_high_as_it_says(name: str) -> None:
    form = reviewed(name)
    pane = FormPane(id="form")
    pane.form = form
    for step in ("confirm", "edit"):
        form.step = step
        assert len(pane.build(80, 8)) == form.height
        form.title, form.error, form.warning = NASTY, NASTY * (step == "edit"), NASTY
        for field in form.fields:
            field.value, field.hint = NASTY, lambda value: value
        shown = "".join(text for line in pane.build(80, 8) for text, _ in line)
        assert not obeyed(shown)


def test_a_form_that_was_sent_or_left_takes_no_more_keys_and_says_which_of_both() -> None:
    pane, told = FormPane(id="form"), []
    pane.repaint = lambda: None  # type: ignore[method-assign]
    for answer, sent in (("y", True), ("n", False)):
        pane.form = reviewed("plain")
        pane.done = lambda form, sent: told.append(sent)
        pane.take(events.Key(answer, answer))
        pane.take(events.Key("y", "y"))
        assert pane.form is None
        assert told == [sent]
        told.clear()
    pane.form = made("note")
    pane.take_paste(events.Paste("y\x1b[2J"))
    assert pane.form.value("note") == "wordsy[2J"


# --- durations and moments


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1), ("90s", 90), ("15m", 900), ("1h30m", 5400), ("2d", 172_800), ("1.5h", 5400), (" 1H ", 3600), ("1w", 604_800),
        ("0h1s", 1), ("3650d", MAX_SECONDS), ("3649d24h", MAX_SECONDS), ("forever", None), (" Never ", None),
        ("until 14:00:01", 1), ("until 14:00", 86_400), ("until 13:59", 86_340), ("until 9:30", 70_200),
        ("until 2026-03-04 14:00:01", 1), ("until 2026-03-04T15:00+01:00", None), ("until 2026-03-04T17:00+02:00", 3600),
    ],
)  # fmt: skip
def test_durations_that_are_meant(text: str, seconds: float | None) -> None:
    if text.endswith("15:00+01:00"):
        with pytest.raises(ValueError, match="over"):
            parse_duration(text, MOMENT)
    else:
        assert parse_duration(text, MOMENT) == seconds


@pytest.mark.parametrize(
    "text",
    ["", " ", "0s", "0m", "0d", "0h0s", "-1h", "+1h", "1", "h", "1 h", "1h 30m", "1e3s", "1,5h", "3650d1s", "3651d", "9" * 190 + "d",
     "nan", "inf", "1h!", "1h\n30m", "until", "until 24:00", "until 25:00", "until yesterday", "until 2026-03-04 14:00", "until 2026-03-04 13:59",
     "until 1970-01-01", "until 2036-03-02 14:00", "until 9999-12-31"],
)  # fmt: skip
def test_durations_that_are_refused_and_why(text: str) -> None:
    with pytest.raises(ValueError, match=r"for how long|a duration lies|until when|that moment is over"):
        parse_duration(text, MOMENT)


def test_a_moment_may_lie_as_far_ahead_as_a_duration() -> None:
    last = MOMENT + timedelta(seconds=MAX_SECONDS)
    assert parse_duration(f"until {last.isoformat(' ')}", MOMENT) == MAX_SECONDS
    with pytest.raises(ValueError, match="3650d away"):
        parse_duration(f"until {(last + timedelta(seconds=1)).isoformat(' ')}", MOMENT)


# --- single forms


@pytest.mark.parametrize("value", ["0.86", "1", "-0.01", "nan", "inf", "", "x", "0.4.1"])
def test_a_ceiling_outside_the_rules_own_confidence_is_refused(value: str) -> None:
    form = RuleForm(rule_row(), "C")
    form.set("max", value)
    form.key("enter", "\r")
    assert form.step == "edit"
    assert "max" in form.error


@pytest.mark.parametrize("value", ["0", "0.0", "0.85", "0.40"])
def test_a_ceiling_reaches_from_nothing_to_the_rules_own_confidence(value: str) -> None:
    form = RuleForm(rule_row(), "C")
    form.set("max", value)
    change = form.change(NOW)
    assert (change.state, change.confidence_max, change.expires_at) == ("clipped", float(value), NOW + 3600)


def test_a_ceiling_of_a_rule_that_cannot_be_read_lies_below_one() -> None:
    form = RuleForm(rule_row(yaml="{"), "C")
    form.set("max", "1.0")
    assert form.change(NOW).confidence_max == 1.0
    form.set("max", "1.01")
    with pytest.raises(ValueError, match=r"confidence 1\.00"):
        form.change(NOW)


@pytest.mark.parametrize(
    ("value", "by", "wanted"),
    [("0.05", -1, "0.00"), ("0.00", -1, "0.00"), ("0.80", 1, "0.85"), ("0.85", 1, "0.85"), ("0.42", 1, "0.45"), ("x", 0, "0.85")],
)  # fmt: skip
def test_steps_of_a_ceiling_stay_between_nothing_and_the_top(value: str, by: int, wanted: str) -> None:
    assert stepped(value, by, 0.85) == wanted


def test_what_falls_below_the_floor_is_told_and_what_stands_on_it_does_not_fall() -> None:
    form = RuleForm(rule_row(), "C", floor=0.3)
    form.set("max", "0.30")
    assert form.effect()[1] == "nothing falls below the floor 0.30"
    form.set("max", "0.29")
    assert form.effect()[1].endswith("no longer stored: T1059, T1105")
    assert emitted("emits: [{technique: T1, confidence: true}, {technique: T2, confidence: 1}, 3]") == [
        ("T2", 1.0)
    ]


def test_disable_and_enable_carry_no_ceiling_and_enable_no_end() -> None:
    disable, enable = RuleForm(rule_row(), "D"), RuleForm(rule_row(), "E")
    disable.set("reason", "  ")
    assert disable.change(NOW).after() == {
        "state": "disabled", "confidence_max": None, "expires_at": NOW + 3600, "reason": None,
    }  # fmt: skip
    disable.set("for", "forever")
    assert disable.change(NOW).expires_at is None
    assert disable.question() == "disable for good"
    enable.set("reason", "back")
    assert enable.change(NOW).after() == {
        "state": "enabled", "confidence_max": None, "expires_at": None, "reason": "back",
    }  # fmt: skip


def test_a_change_by_somebody_else_is_said_and_going_on_then_is_meant() -> None:
    form = RuleForm(rule_row(), "D")
    form.notice(rule_row(reason="other"))
    assert form.warning == ""
    assert form.change(NOW).expected == rule_row(reason="other")
    theirs = rule_row(state="clipped", confidence_max=0.4, set_by="bob")
    assert form.change(NOW).expected != theirs
    form.notice(theirs)
    assert form.warning == "changed meanwhile by bob: now clipped"
    assert form.change(NOW).expected == theirs
    form.notice(None)
    assert form.warning == "this rule is gone"


def test_a_worker_that_is_stopped_can_only_be_started() -> None:
    for action in ("pause", "resume"):
        form = WorkerForm("ttp", "stopped", 0, action)
        form.key("enter", "\r")
        assert (form.step, form.error) == ("edit", "it is stopped: start it first")
    assert WorkerForm("ttp", "paused", 0, " STOP ").change(NOW).action == "stop"
    with pytest.raises(ValueError, match="stop, start"):
        WorkerForm("ttp", "ok", 0, "kill").change(NOW)


def test_what_alerts_become() -> None:
    found = acknowledging("a1", "L").change(NOW)
    assert isinstance(found, AlertState)
    assert (found.state, found.verdict, found.reason) == ("acknowledged", None, None)
    found = reopening("a1", "L", "resolved: wrong").change(NOW)
    assert isinstance(found, AlertState)
    assert (found.state, found.verdict) == ("open", None)


@pytest.mark.parametrize(
    ("said", "verdict"),
    [("two people", "two_people"), ("TWO-PEOPLE", "two_people"), ("t", "two_people"), ("one, two tools", "one_two_tools"),
     ("one_two_tools", "one_two_tools"), ("o", "one_two_tools"), ("wrong", "wrong"), ("w", "wrong")],
)  # fmt: skip
def test_a_verdict_may_be_begun_or_be_the_stored_word(said: str, verdict: str) -> None:
    form = resolving(said)
    form.set("note", " seen ")
    found = form.change(NOW)
    assert isinstance(found, AlertState)
    assert (found.state, found.verdict, found.reason) == ("resolved", verdict, "seen")


@pytest.mark.parametrize("said", ["", " ", "perhaps", "two tools"])
def test_nothing_is_resolved_without_a_verdict(said: str) -> None:
    with pytest.raises(ValueError, match="what was found"):
        resolving(said).change(NOW)


@pytest.mark.parametrize("text", ["", "  "])
def test_a_note_has_words(text: str) -> None:
    form = NoteForm("source", "a1", "L")
    form.set("note", text)
    with pytest.raises(ValueError, match="has words"):
        form.change(NOW)


def test_a_source_is_named_and_ends_when_it_was_said() -> None:
    form = IgnoreForm(" 192.0.2.0/24 ")
    assert form.change(NOW).after() == {"ignored": True, "expires_at": None, "reason": None}
    assert form.change(NOW).source == "192.0.2.0/24"
    form.set("for", "1h")
    assert form.change(NOW).expires_at == NOW + 3600
    form.set("for", "0s")
    with pytest.raises(ValueError, match="a duration"):
        form.change(NOW)
    with pytest.raises(ValueError, match="which source"):
        IgnoreForm("  ").change(NOW)


@pytest.mark.parametrize("since", ["", "7", "d", "-7d", "7y", "1.5d", "7 d", "x7d"])
def test_a_back_fill_without_a_span_is_refused(since: str) -> None:
    form = BackfillForm("R0001", "n", ())
    form.set("since", since)
    form.key("enter", "\r")
    assert form.step == "edit"
    assert "how far back" in form.error


def test_an_interval_is_said_and_a_rotation_tells_whom_it_cuts_off() -> None:
    form = IntervalForm(DECKY, Settings())
    form.set("every", " 45M ")
    assert form.change(NOW).every == "45m"
    form.set("every", " ")
    with pytest.raises(ValueError, match="an interval"):
        form.change(NOW)
    for live, words in (
        (0, "no live session"),
        (1, "! 1 live session would"),
        (2, "! 2 live sessions would"),
    ):
        effect = RotationForm({**DECKY, "live": live}, "3s", 60.0).effect()
        assert words in effect[0]
        assert "3s old" in effect[1]


# --- the line at the bottom


def asked(**over: Any) -> tuple[Prompt, list[tuple[bool, str]]]:
    prompt, told = Prompt(id="prompt"), []
    prompt.repaint = lambda: None  # type: ignore[method-assign]
    prompt.ask(Question("? ", lambda accepted, text: told.append((accepted, text)), **over))
    return prompt, told


@pytest.mark.parametrize(
    ("key", "character", "answers", "accepted"),
    [("y", "y", "y", True), ("Y", "Y", "y", False), ("enter", "\r", "y", False), ("escape", "\x1b", "y", False), ("h", "h", "y", False),
     ("h", "h", "yh", True), ("up", None, "yh", False), ("x", "x", "yh", False)],
)  # fmt: skip
def test_a_question_is_answered_by_its_letters_only(
    key: str, character: str | None, answers: str, accepted: bool
) -> None:
    prompt, told = asked(confirm=True, answers=answers)
    prompt.take(events.Key(key, character))
    assert told == [(accepted, character or "")]
    assert prompt.question is None
    prompt.take(events.Key("y", "y"))
    assert len(told) == 1


def test_a_paste_fills_a_line_to_its_limit_and_answers_nothing() -> None:
    prompt, told = asked(confirm=True)
    prompt.take_paste(events.Paste("y"))
    assert (prompt.text, told) == ("", [])
    assert prompt.question is not None
    prompt, told = asked()
    prompt.take_paste(events.Paste("a\n b"))
    assert prompt.text == "a b"
    for size in (MAX_LINE - 1, MAX_LINE, MAX_LINE + 1):
        prompt, told = asked()
        prompt.take_paste(events.Paste("x" * size))
        assert len(prompt.text) == min(size, MAX_LINE)
    assert not told


def test_a_line_that_is_wrong_is_not_accepted_and_can_be_left() -> None:
    prompt, told = asked(changed=lambda text: "wrong" if text == "a" else "")
    prompt.take(events.Key("a", "a"))
    prompt.take(events.Key("enter", "\r"))
    assert (told, prompt.error) == ([], "wrong")
    prompt.take(events.Key("escape", "\x1b"))
    assert told == [(False, "a")]
    prompt, told = asked()
    prompt.take(events.Key("b", "b"))
    prompt.take(events.Key("enter", "\r"))
    assert told == [(True, "b")]


def test_the_history_ends_at_its_ends_and_gives_back_what_was_typed() -> None:
    prompt, _ = asked(text="typed", history=["one", "two"])
    seen = []
    for key in ("up", "up", "up", "down", "down", "down"):
        prompt.take(events.Key(key, None))
        seen.append(prompt.text)
    assert seen == ["two", "one", "one", "two", "typed", "typed"]


def test_what_stands_in_the_line_is_visible() -> None:
    prompt, _ = asked()
    prompt.take_paste(events.Paste(NASTY))
    shown = "".join(text for text, _ in prompt.build(80, 1)[0])
    assert not obeyed(shown)
