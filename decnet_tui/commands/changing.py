"""Commands that change something: each makes a form; the desk asks, sends, verifies and journals."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from decnet.runtime.health import PARTS
from decnet_tui.actions.forms import Form, PlainForm
from decnet_tui.actions.rule_form import RuleForm
from decnet_tui.actions.undo import last_undoable, undo_of, undoable
from decnet_tui.actions.workers import LetterRetry, WorkerForm
from decnet_tui.commands import shown
from decnet_tui.commands.base import Command
from decnet_tui.model.access import store_errors
from decnet_tui.model.journal import Entry
from decnet_tui.model.keys import key
from decnet_tui.model.words import clock
from decnet_tui.screens.journal import JournalView
from decnet_tui.screens.rules import RulesView
from decnet_tui.screens.workers import LETTERS, WORKERS, WorkersView

if TYPE_CHECKING:
    from decnet.db.rows.journal import JournalLine
    from decnet_tui.commands.context import Context


def write_mode(console: Context, _: str) -> None:
    """Write mode on, after a typed y, or off."""
    console.desk.switch_write_mode()


_RULE_IDS = ("rule.disable", "rule.enable", "rule.clip", "view.rules")
_RULE_KEYS = "{}, {} and {} change the rule under the cursor in view {}"


def _rule_ids(console: Context) -> list[str]:
    view = console.view_of(RulesView)
    return [str(row["rule_id"]) for row in view.known()]


def rule(verb: str, console: Context, text: str) -> None:
    """The form for a rule: the one under the cursor, or ``ID [duration or max] [reason]``."""
    view = console.view_of(RulesView)
    if not console.desk.once_loaded(view, lambda: rule(verb, console, text)):
        return
    words = text.split()
    row = view.rule(words[0]) or view.rule(words[0].upper()) if words else shown.rule(console)
    if row is None:
        console.say(
            f"no rule {words[0]}" if words else _RULE_KEYS.format(*map(key, _RULE_IDS)),
            bad=True,
        )
        return
    if row.get("error") and row["state"] == "failed":
        console.say(f"{row['rule_id']} failed to load; its errors stand in the detail", bad=True)
        return
    form = RuleForm(row, verb, fired=view.fired_recently(row["rule_id"]), floor=console.settings.ttp.floor)
    _fill(form, words[1:])
    console.propose(form)


def _on_rule(console: Context) -> bool:
    """Whether the cursor is on a rule that is in force."""
    row = shown.rule(console)
    return row is not None and not (row.get("error") and row["state"] == "failed")


def _fill(form: Form, words: list[str]) -> None:
    """Words go into the fields in order; the last field takes all that is left."""
    for i, field in enumerate(form.fields):
        last = i == len(form.fields) - 1
        value = " ".join(words[i:]) if last else " ".join(words[i : i + 1])
        if value:
            form.set(field.name, value)


def worker(console: Context, text: str) -> None:
    """The form for a worker: the one under the cursor, or ``NAME [action]``."""
    words = text.split()
    name = words[0] if words else _worker_here(console)
    model = console.feed.workers.get(str(name))
    if model is None or name in PARTS:
        console.say(
            f"no worker {name}"
            if words
            else f"{key('worker.control')} works on a worker in view {key('view.workers')}",
            bad=True,
        )
        return
    state = model.status(console.now(), console.feed.heartbeat_s)
    form = WorkerForm(str(name), state, model.payload.get("lag"))
    _fill(form, words[1:])
    console.propose(form)


def _worker_here(console: Context) -> str | None:
    """The worker under the cursor."""
    entry = shown.health_line(console)
    return str(entry.key) if entry is not None and entry.section == WORKERS else None


def _letter_here(console: Context) -> str:
    """The number of the dead letter under the cursor."""
    entry = shown.health_line(console)
    return str(entry.key) if entry is not None and entry.section == LETTERS and entry.key is not None else ""


def _worker_names(console: Context) -> list[str]:
    return [name for name in console.feed.workers if name not in PARTS]


def retry_letter(console: Context, text: str) -> None:
    """The dead letter under the cursor, or one by its number, goes on the bus again."""
    view = console.view_of(WorkersView)
    if not console.desk.once_loaded(view, lambda: retry_letter(console, text)):
        return
    wanted = text.strip() or _letter_here(console)
    letter = next((row for row in view.letters if str(row["id"]) == wanted), None)
    if letter is None:
        console.say(
            f"no dead letter {wanted}"
            if wanted
            else f"{key('letter.retry')} tries the dead letter under the cursor again",
            bad=True,
        )
        return
    effect = [f"{letter['worker']} gets {letter['topic']} again; it failed with: {letter['reason']}"]
    console.propose(
        PlainForm(f"RETRY dead letter {letter['id']}", "put it on the bus again", effect, LetterRetry(letter))
    )


def undo(console: Context, text: str) -> None:
    """Takes back the journal line under the cursor, the one with that number, or the operator's last change."""
    console.work(partial(_undo, console, text.strip()), "undo", instead=True)


async def _undo(console: Context, wanted: str) -> None:
    if console.session.repo is None:
        console.say("without a database there is no journal to undo from", bad=True)
        return
    try:
        entries = await console.session.repo.journal()
    except store_errors() as error:
        console.say(f"the journal cannot be read: {error}", bad=True)
        return
    row: Entry | JournalLine | None = None
    if isinstance(console.view, JournalView) and not wanted:
        row = console.view.current
    if wanted:
        row = next((e for e in entries if str(e["id"]) == wanted), None)
    entry = row if row is not None or wanted else last_undoable(entries, console.session.operator)
    if entry is None:
        console.say(
            f"no change {wanted} in the journal" if wanted else "you have changed nothing that can be undone"
        )
    elif why := undoable(entry):
        console.say(f"cannot be undone: {entry['what']}: {why}", bad=True)
    else:
        before, after = entry["before"], entry.get("after")
        effect = [f"from {_state(after)}", f"back to {_state(before)}"]
        title = f"UNDO {entry['id']}: {entry['what']}"
        console.propose(PlainForm(title, "restore the former state", effect, undo_of(entry)))


_WORDS = {"expires_at": "until", "confidence_max": "max"}


def _state(fields: object) -> str:
    if not isinstance(fields, dict):
        return "?"
    told = {k: f"{clock(v, 'date')}Z" if k == "expires_at" and v else v for k, v in fields.items()}
    return "  ".join(f"{_WORDS.get(k, k)} {v}" for k, v in told.items() if v is not None)


COMMANDS = (
    Command("write", "write mode, for a limited time", "Changes", write_mode, keys="W", foot="write", changes=True,
            here=lambda console: not console.desk.write.never),
    Command("rule.disable", "disable the rule", "Changes", partial(rule, "D"), keys="D", foot="disable",
            views=("rules",), name="disable", argument="ID [1h] [reason]", complete=_rule_ids, changes=True, here=_on_rule),
    Command("rule.enable", "enable the rule", "Changes", partial(rule, "E"), keys="E", foot="enable",
            views=("rules",), name="enable", argument="ID [reason]", complete=_rule_ids, changes=True, here=_on_rule),
    Command("rule.clip", "clip the rule: a ceiling for its confidence", "Changes", partial(rule, "C"), keys="C",
            foot="clip", views=("rules",), name="clip", argument="ID [0.40] [1h] [reason]", complete=_rule_ids,
            changes=True, here=_on_rule),
    Command("worker.control", "stop, start, restart, pause or resume the worker", "Changes", worker, keys="S",
            foot="steer", views=("workers",), name="worker", argument="NAME [action]", complete=_worker_names,
            changes=True, here=lambda console: _worker_here(console) in _worker_names(console)),
    Command("letter.retry", "try the dead letter again", "Changes", retry_letter, keys="R", foot="retry",
            views=("workers",), name="retry", argument="NUMBER", changes=True,
            here=lambda console: bool(_letter_here(console))),
    Command("undo", "undo the journal line, or your last change", "Changes", undo, keys="U", name="undo",
            argument="[NUMBER]", changes=True),
)  # fmt: skip
