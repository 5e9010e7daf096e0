"""Commands on alerts: acknowledge, resolve, note."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from decnet_tui.actions.alerts import AlertForm
from decnet_tui.commands import shown
from decnet_tui.commands.base import Command
from decnet_tui.screens.alerts import AlertLine, label_of

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context

_HERE = ("alerts",)


def _refused(verb: str, row: AlertLine | None) -> str:
    """Why this cannot be done to an alert; empty when it can."""
    if row is None:
        return "there is no alert under the cursor"
    if verb != "note" and row["state"] == "resolved":
        return "this alert is resolved already"
    if verb == "acknowledge" and row["state"] == "acknowledged":
        return "this alert is acknowledged already"
    return ""


def handle(verb: str, console: Context, _: str) -> None:
    """The form for the alert under the cursor."""
    row = shown.alert(console)
    if (why := _refused(verb, row)) or row is None:
        console.say(why)
        return
    sessions = sum(len(side) for side in row["sides"] or ())
    console.propose(AlertForm(row["alert_id"], label_of(row), verb, sessions))


def _can(verb: str, console: Context) -> bool:
    return not _refused(verb, shown.alert(console))


COMMANDS = (
    Command("alert.ack", "acknowledge the alert", "Changes", partial(handle, "acknowledge"), keys="a", foot="ack",
            views=_HERE, name="ack", changes=True, here=partial(_can, "acknowledge")),
    Command("alert.resolve", "resolve the alert", "Changes", partial(handle, "resolve"), keys="R", foot="resolve",
            views=_HERE, name="resolve", changes=True, here=partial(_can, "resolve")),
    Command("alert.note", "write a note on the alert", "Changes", partial(handle, "note"), keys="n", foot="note",
            views=_HERE, name="note", changes=True, here=partial(_can, "note")),
)  # fmt: skip
