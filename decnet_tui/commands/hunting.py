"""Commands that hunt: ignore a source, judge the past by a rule."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from decnet_tui.actions.backfill import BackfillForm, store_options
from decnet_tui.actions.forms import PlainForm
from decnet_tui.actions.sources import IgnoreForm, NoticeSource, same_identity
from decnet_tui.commands import shown
from decnet_tui.commands.base import Command
from decnet_tui.model.access import store_errors
from decnet_tui.model.keys import key
from decnet_tui.screens.ignored import IgnoredView
from decnet_tui.screens.rules import RulesView

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context


def ignore(console: Context, text: str) -> None:
    """The form that ignores a source: what was typed, or the actor of the line; it offers its whole identity."""
    actor = console.view.actor()
    if not text.strip() and actor is not None and actor.campaign:
        console.say("X ignores an address: go to one of the campaign's", bad=True)
        return
    source = text.strip() or str(console.view.record().get("attacker_ip") or "")
    if not source and actor is not None:
        source = next((name for name in actor.names if "." in name or ":" in name), "")
    if text.strip() or not source or console.session.repo is None:
        console.propose(IgnoreForm(source))
    else:
        console.work(partial(_ignore, console, source), "ignore", instead=True)


async def _ignore(console: Context, source: str) -> None:
    try:
        label, others = await same_identity(console.session, source)
    except store_errors() as error:
        console.say(f"its identity cannot be read: {error}", bad=True)
        return
    console.propose(IgnoreForm(source, label, others))


def notice(console: Context, text: str) -> None:
    """The form that takes an entry away: that of a source, or the one under the cursor."""
    ignored = console.view_of(IgnoredView)
    row = ignored.current if console.view is ignored else None
    source = text.strip() or (str(row["value"]) if row is not None else "")
    if not source:
        console.say(f"there is no ignored source under the cursor; {key('view.ignored')} shows them")
        return
    effect = ["its events of the past and to come are counted, listed and exported again"]
    change = NoticeSource(source)
    console.propose(PlainForm(f"IGNORE {source} no longer", f"ignore {source} no longer", effect, change))


def backfill(console: Context, text: str) -> None:
    """The form that judges the past by the rule under the cursor, or by ID."""
    view = console.view_of(RulesView)
    if not console.desk.once_loaded(view, lambda: backfill(console, text)):
        return
    words = text.split()
    row = view.rule(words[0]) or view.rule(words[0].upper()) if words else shown.rule(console)
    if row is None:
        console.say(
            f"no rule {words[0]}"
            if words
            else f"{key('rule.backfill')} works on the rule under the cursor in view {key('view.rules')}",
            bad=True,
        )
        return
    settings = console.settings
    console.propose(BackfillForm(row["rule_id"], row.get("name") or "", store_options(settings), settings.db))


COMMANDS = (
    Command("source.ignore", "ignore this source", "Changes", ignore, keys="X", name="ignore",
            argument="[ADDRESS, network or login name]", changes=True),
    Command("source.notice", "ignore the source no longer", "Changes", notice, keys="E", foot="ignore no longer",
            views=("ignored",), name="notice", argument="[SOURCE]", changes=True, here=lambda console: console.view.on_row),
    Command("rule.backfill", "judge the past by the rule", "Changes", backfill, keys="B", views=("rules",),
            name="backfill", argument="ID", changes=True),
)  # fmt: skip
