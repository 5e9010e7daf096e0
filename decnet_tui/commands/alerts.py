"""Commands on alerts: acknowledge, resolve with a verdict or open again, note."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from decnet.db.rows.attribution import ACKNOWLEDGED, RESOLVED
from decnet.db.rows.notes import ALERT
from decnet_tui.actions.alerts import ResolveForm, acknowledging, reopening
from decnet_tui.actions.forms import Form
from decnet_tui.actions.notes import NoteForm
from decnet_tui.commands import shown
from decnet_tui.commands.base import Command
from decnet_tui.model.alert_words import closed_as
from decnet_tui.screens.alerts import AlertLine, AlertsView, label_of

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context

_HERE = ("alerts",)
ACK, CLOSE, NOTE = "acknowledge", "resolve", "note"


def _refused(verb: str, row: AlertLine | None) -> str:
    """Why this cannot be done to an alert; empty when it can."""
    if row is None:
        return "there is no alert under the cursor"
    if row["state"] == RESOLVED:
        if verb == ACK:
            return "this alert is resolved already"
        if verb == CLOSE and not row["standing"]:
            return "the evidence of this alert stands no more: it stays resolved"
    if verb == ACK and row["state"] == ACKNOWLEDGED:
        return "this alert is acknowledged already"
    return ""


def _form(verb: str, row: AlertLine) -> Form:
    alert, label = row["alert_id"], label_of(row)
    if verb == NOTE:
        return NoteForm(ALERT, alert, label)
    if verb == ACK:
        return acknowledging(alert, label)
    if row["state"] == RESOLVED:
        return reopening(alert, label, closed_as(row))
    return ResolveForm(alert, label, sum(len(side) for side in row["sides"] or ()))


def handle(verb: str, console: Context, text: str) -> None:
    """The form for the alert that is shown, or for the one whose id begins so; a resolved one is opened again."""
    view = console.view_of(AlertsView)
    wanted = text.strip()
    if (wanted or console.view is view) and not console.desk.once_loaded(
        view, lambda: handle(verb, console, text)
    ):
        return
    row = view.named(wanted) if wanted else shown.alert(console)
    why = _refused(verb, row) if row is not None or not wanted else f"no alert {wanted}"
    if why or row is None:
        console.say(why, bad=bool(wanted))
        return
    console.propose(_form(verb, row))


def _can(verb: str, console: Context) -> bool:
    return not _refused(verb, shown.alert(console))


def _ids(console: Context) -> list[str]:
    return [row["alert_id"] for row in console.view_of(AlertsView).alerts.rows]


COMMANDS = (
    Command("alert.ack", "acknowledge the alert", "Changes", partial(handle, ACK), keys="a", foot="ack",
            views=_HERE, name="ack", argument="[ID]", complete=_ids, changes=True, here=partial(_can, ACK)),
    Command("alert.resolve", "resolve the alert with what was found, or open it again", "Changes", partial(handle, CLOSE),
            keys="R", foot="resolve", views=_HERE, name="resolve", argument="[ID]", complete=_ids, changes=True,
            here=partial(_can, CLOSE)),
    Command("alert.note", "write a note on the alert", "Changes", partial(handle, NOTE), keys="n", foot="note",
            views=_HERE, argument="[ID]", complete=_ids, changes=True, here=partial(_can, NOTE)),
)  # fmt: skip
