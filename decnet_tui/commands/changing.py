"""Commands that change something: each makes a form; the app asks, sends, verifies and journals."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from decnet.runtime.health import PARTS
from decnet_tui.actions.forms import Form, PlainForm
from decnet_tui.actions.rule_form import RuleForm
from decnet_tui.actions.undo import Entry, last_undoable, undo_of, undoable
from decnet_tui.actions.workers import LetterRetry, WorkerForm
from decnet_tui.commands.base import Command
from decnet_tui.model.access import store_errors
from decnet_tui.model.words import clock
from decnet_tui.screens.journal import JournalView
from decnet_tui.screens.rules import RulesView
from decnet_tui.screens.since import SinceView
from decnet_tui.screens.workers import LETTERS, WORKERS, WorkersView

if TYPE_CHECKING:
    from decnet.db.rows.journal import JournalLine
    from decnet_tui.app import DecnetApp


def write_mode(app: DecnetApp, _: str) -> None:
    """Write mode on, after a typed y, or off."""
    app.desk.switch_write_mode()


def _rule_ids(app: DecnetApp) -> list[str]:
    view = app.view_of(RulesView)
    return [str(row["rule_id"]) for row in view.known()]


def rule(verb: str, app: DecnetApp, text: str) -> None:
    """The form for a rule: the one under the cursor, or ``ID [duration or max] [reason]``."""
    view = app.view_of(RulesView)
    if not app.desk.once_loaded(view, lambda: rule(verb, app, text)):
        return
    words = text.split()
    row = view.rule(words[0] if words else str((view.current or {}).get("rule_id")))
    if row is None:
        app.say(
            f"no rule {words[0]}" if words else "D, E and C change the rule under the cursor in view 4",
            bad=True,
        )
        return
    if row.get("error") and row["state"] == "failed":
        app.say(f"{row['rule_id']} failed to load; its errors stand in the detail", bad=True)
        return
    form = RuleForm(row, verb, fired=view.fired_recently(row["rule_id"]), floor=app.settings.ttp.floor)
    _fill(form, words[1:])
    app.propose(form)


def _fill(form: Form, words: list[str]) -> None:
    """Words go into the fields in order; the last field takes all that is left."""
    for i, field in enumerate(form.fields):
        last = i == len(form.fields) - 1
        value = " ".join(words[i:]) if last else " ".join(words[i : i + 1])
        if value:
            form.set(field.name, value)


def worker(app: DecnetApp, text: str) -> None:
    """The form for a worker: the one under the cursor, or ``NAME [action]``."""
    words = text.split()
    entry = app.view_of(WorkersView).current
    named = entry.key if entry is not None and entry.section == WORKERS else None
    name = words[0] if words else named
    model = app.feed.workers.get(str(name))
    if model is None or name in PARTS:
        app.say(f"no worker {name}" if words else "S works on a worker in view 6", bad=True)
        return
    state = model.status(app.now(), app.feed.heartbeat_s)
    form = WorkerForm(str(name), state, model.payload.get("lag"))
    _fill(form, words[1:])
    app.propose(form)


def _worker_names(app: DecnetApp) -> list[str]:
    return [name for name in app.feed.workers if name not in PARTS]


def retry_letter(app: DecnetApp, text: str) -> None:
    """The dead letter under the cursor, or one by its number, goes on the bus again."""
    view = app.view_of(WorkersView)
    if not app.desk.once_loaded(view, lambda: retry_letter(app, text)):
        return
    entry = view.current
    wanted = text.strip() or (str(entry.key) if entry is not None and entry.section == LETTERS else "")
    letter = next((row for row in view.letters if str(row["id"]) == wanted), None)
    if letter is None:
        app.say(
            f"no dead letter {wanted}" if wanted else "R tries the dead letter under the cursor again",
            bad=True,
        )
        return
    effect = [f"{letter['worker']} gets {letter['topic']} again; it failed with: {letter['reason']}"]
    app.propose(
        PlainForm(f"RETRY dead letter {letter['id']}", "put it on the bus again", effect, LetterRetry(letter))
    )


def undo(app: DecnetApp, text: str) -> None:
    """Takes back the journal line under the cursor, the one with that number, or the operator's last change."""
    app.run_worker(partial(_undo, app, text.strip()), name="undo", group="undo", exclusive=True)  # type: ignore[arg-type]


async def _undo(app: DecnetApp, wanted: str) -> None:
    if app.session.repo is None:
        app.say("without a database there is no journal to undo from", bad=True)
        return
    try:
        entries = await app.session.repo.journal()
    except store_errors() as error:
        app.say(f"the journal cannot be read: {error}", bad=True)
        return
    row: Entry | JournalLine | None = None
    if isinstance(app.view, JournalView) and not wanted:
        row = app.view.current
    if wanted:
        row = next((e for e in entries if str(e["id"]) == wanted), None)
    entry = row if row is not None or wanted else last_undoable(entries, app.session.operator)
    if entry is None:
        app.say(
            f"no change {wanted} in the journal" if wanted else "you have changed nothing that can be undone"
        )
    elif why := undoable(entry):
        app.say(f"cannot be undone: {entry['what']}: {why}", bad=True)
    else:
        before, after = entry["before"], entry.get("after")
        effect = [f"from {_state(after)}", f"back to {_state(before)}"]
        title = f"UNDO {entry['id']}: {entry['what']}"
        app.propose(PlainForm(title, "restore the former state", effect, undo_of(entry)))


_WORDS = {"expires_at": "until", "confidence_max": "max"}


def _state(fields: object) -> str:
    if not isinstance(fields, dict):
        return "?"
    shown = {k: f"{clock(v, 'date')}Z" if k == "expires_at" and v else v for k, v in fields.items()}
    return "  ".join(f"{_WORDS.get(k, k)} {v}" for k, v in shown.items() if v is not None)


def next_span(app: DecnetApp, _: str) -> None:
    """View 0: another span."""
    app.say(f"new in: {app.view_of(SinceView).next_span()}")
    app.repaint()


COMMANDS = (
    Command("since.span", "change the span", "Since", next_span, keys="s", foot="span", views=("since",)),
    Command("write", "write mode, for a limited time", "Changes", write_mode, keys="W", foot="write", changes=True),
    Command("rule.disable", "disable the rule", "Changes", partial(rule, "D"), keys="D", foot="disable",
            views=("rules",), name="disable", argument="ID [1h] [reason]", complete=_rule_ids, changes=True),
    Command("rule.enable", "enable the rule", "Changes", partial(rule, "E"), keys="E", foot="enable",
            views=("rules",), name="enable", argument="ID [reason]", complete=_rule_ids, changes=True),
    Command("rule.clip", "clip the rule: a ceiling for its confidence", "Changes", partial(rule, "C"), keys="C",
            foot="clip", views=("rules",), name="clip", argument="ID [0.40] [1h] [reason]", complete=_rule_ids,
            changes=True),
    Command("worker.control", "stop, start, restart, pause or resume the worker", "Changes", worker, keys="S",
            foot="steer", views=("workers",), name="worker", argument="NAME [action]", complete=_worker_names,
            changes=True),
    Command("letter.retry", "try the dead letter again", "Changes", retry_letter, keys="R", foot="retry",
            views=("workers",), name="retry", argument="NUMBER", changes=True),
    Command("undo", "undo the journal line, or your last change", "Changes", undo, keys="U", name="undo",
            argument="[NUMBER]", changes=True),
)  # fmt: skip
