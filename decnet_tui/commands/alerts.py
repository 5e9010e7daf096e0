"""Commands on alerts: acknowledge, resolve, note."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from decnet_tui.actions.alerts import AlertForm
from decnet_tui.commands.base import Command
from decnet_tui.screens.alerts import AlertsView, label_of

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context

_HERE = ("alerts",)


def handle(verb: str, console: Context, _: str) -> None:
    """The form for the alert under the cursor."""
    row = console.view_of(AlertsView).chosen
    if row is None:
        console.say("there is no alert under the cursor")
    elif verb != "note" and row["state"] == "resolved":
        console.say("this alert is resolved already")
    elif verb == "acknowledge" and row["state"] == "acknowledged":
        console.say("this alert is acknowledged already")
    else:
        sessions = sum(len(side) for side in row["sides"] or ())
        console.propose(AlertForm(row["alert_id"], label_of(row), verb, sessions))


COMMANDS = (
    Command("alert.ack", "acknowledge the alert", "Changes", partial(handle, "acknowledge"), keys="a", foot="ack",
            views=_HERE, name="ack", changes=True),
    Command("alert.resolve", "resolve the alert", "Changes", partial(handle, "resolve"), keys="R", foot="resolve",
            views=_HERE, name="resolve", changes=True),
    Command("alert.note", "write a note on the alert", "Changes", partial(handle, "note"), keys="n", foot="note",
            views=_HERE, name="note", changes=True),
)  # fmt: skip
