"""Commands that hunt: search the database, ignore a source, judge the past by a rule."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from decnet_tui.actions.backfill import BackfillForm, store_options
from decnet_tui.actions.sources import IgnoreForm, same_identity
from decnet_tui.commands.base import Command
from decnet_tui.model.access import store_errors
from decnet_tui.screens.found import FoundView
from decnet_tui.screens.rules import RulesView

if TYPE_CHECKING:
    from decnet_tui.app import DecnetApp


def search(app: DecnetApp, text: str) -> None:
    """Searches the database."""
    if not text.strip():
        app.say("what is looked for? //TEXT", bad=True)
        return
    app.view_of(FoundView).look_for(text.strip())
    app.show_view("found")


def ignore(app: DecnetApp, text: str) -> None:
    """The form that ignores a source: what was typed, or the actor of the line; it offers its whole identity."""
    actor = app.view.actor()
    if not text.strip() and actor is not None and actor.campaign:
        app.say("X ignores an address: go to one of the campaign's", bad=True)
        return
    source = text.strip() or str(app.view.record().get("attacker_ip") or "")
    if not source and actor is not None:
        source = next((name for name in actor.names if "." in name or ":" in name), "")
    if text.strip() or not source or app.session.repo is None:
        app.propose(IgnoreForm(source))
    else:
        app.run_worker(partial(_ignore, app, source), name="ignore", group="ignore", exclusive=True)  # type: ignore[arg-type]


async def _ignore(app: DecnetApp, source: str) -> None:
    try:
        label, others = await same_identity(app.session, source)
    except store_errors() as error:
        app.say(f"its identity cannot be read: {error}", bad=True)
        return
    app.propose(IgnoreForm(source, label, others))


def backfill(app: DecnetApp, text: str) -> None:
    """The form that judges the past by the rule under the cursor, or by ID."""
    view = app.view_of(RulesView)
    if not app.desk.once_loaded(view, lambda: backfill(app, text)):
        return
    words = text.split()
    wanted = words[0] if words else str((view.current or {}).get("rule_id"))
    row = view.rule(wanted)
    if row is None:
        app.say(f"no rule {wanted}" if text else "B works on the rule under the cursor in view 4", bad=True)
        return
    app.propose(BackfillForm(row["rule_id"], row.get("name") or "", store_options(app.settings)))


COMMANDS = (
    Command("search", "search the database; // does that too", "Finding", search, name="find", argument="TEXT"),
    Command("source.ignore", "ignore this source", "Changes", ignore, keys="X", name="ignore",
            argument="[ADDRESS, network or login name]", changes=True),
    Command("rule.backfill", "judge the past by the rule", "Changes", backfill, keys="B", views=("rules",),
            name="backfill", argument="ID", changes=True),
)  # fmt: skip
