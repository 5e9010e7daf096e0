"""Changing alerts: acknowledge, resolve with a verdict, open again; each can be undone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from decnet.db.rows.attribution import ACKNOWLEDGED, MADE, OPEN, RESOLVED, Alert, AlertMade
from decnet.db.rows.notes import ALERT
from decnet.errors import DecnetError
from decnet_tui.actions.changes import Change
from decnet_tui.actions.forms import Field, Form, PlainForm
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.alert_words import VERDICTS, closed_as, verdict_named
from decnet_tui.model.words import counted

KIND = "alert.state"
_SAID = {OPEN: "open again", ACKNOWLEDGED: "acknowledged", RESOLVED: "resolved"}


@dataclass
class AlertState(Change):
    """Acknowledges an alert, resolves it with what was found, or opens it again."""

    alert_id: str
    label: str
    state: str
    reason: str | None = None
    verdict: str | None = None
    kind = KIND

    @property
    def target(self) -> str:  # type: ignore[override]
        """The alert."""
        return self.alert_id

    @property
    def what(self) -> str:
        """Actor and state, short enough for a line of the journal at 80 columns."""
        found = f": {VERDICTS[self.verdict]}" if self.verdict else ""
        return f"alert {self.label} {_SAID[self.state]}{found}"

    async def before(self, session: Session) -> dict[str, Any] | None:
        """What operators had made of it."""
        row = await need_store(session).get_alert(self.alert_id)
        return None if row is None else _plain(row)

    def after(self) -> dict[str, Any]:
        """The state asked for."""
        return {"state": self.state, "verdict": self.verdict}

    async def send(self, session: Session) -> None:
        """Writes the state, and what was said with it. Raises DecnetError for an alert that cannot have it."""
        store = need_store(session)
        try:
            row = await store.set_alert_state(self.alert_id, self.state, session.operator, self.verdict)
        except ValueError as error:
            raise DecnetError(str(error)) from error
        if row is None:
            raise DecnetError(f"no alert {self.alert_id}")
        if self.reason:
            await store.note_add(ALERT, self.alert_id, self.reason, session.operator)

    async def held(self, session: Session) -> str:
        """Empty when the store holds that state."""
        row = await need_store(session).get_alert(self.alert_id)
        same = row is not None and (row["state"], row["verdict"]) == (self.state, self.verdict)
        return "" if same else f"the store reads back {closed_as(row) if row else 'no such alert'}"


@dataclass
class AlertRestored(Change):
    """Brings back what operators had made of an alert."""

    alert_id: str
    label: str
    made: AlertMade
    undoes: int | None = None
    kind = KIND

    @property
    def target(self) -> str:  # type: ignore[override]
        """The alert."""
        return self.alert_id

    @property
    def what(self) -> str:
        """Actor and state."""
        return f"alert {self.label} {closed_as(self.made)}"

    async def before(self, session: Session) -> dict[str, Any] | None:
        """What operators had made of it."""
        row = await need_store(session).get_alert(self.alert_id)
        return None if row is None else _plain(row)

    def after(self) -> dict[str, Any]:
        """The state that comes back."""
        return {"state": self.made["state"], "verdict": self.made["verdict"]}

    async def send(self, session: Session) -> None:
        """Writes it. Raises DecnetError for an alert that is gone, or whose evidence is."""
        try:
            row = await need_store(session).restore_alert(self.alert_id, self.made)
        except ValueError as error:
            raise DecnetError(str(error)) from error
        if row is None:
            raise DecnetError(f"no alert {self.alert_id}")

    async def held(self, session: Session) -> str:
        """Empty when the store holds just this."""
        row = await need_store(session).get_alert(self.alert_id)
        same = row is not None and _plain(row) == _plain(self.made)
        return "" if same else f"the store reads back {closed_as(row) if row else 'no such alert'}"


def _plain(row: Alert | AlertMade) -> dict[str, Any]:
    """What operators made of an alert, as JSON values."""
    values = ((name, row[name]) for name in MADE)  # type: ignore[literal-required]
    return {name: v.timestamp() if isinstance(v, datetime) else v for name, v in values}


def undo(entry: Mapping[str, Any]) -> Change:
    """Back to what operators had made of the alert before."""
    before = entry["before"]
    times = {n: datetime.fromtimestamp(before[n], UTC) for n in MADE if n.endswith("_at") and before.get(n)}
    made = {**{name: before.get(name) for name in MADE}, **times}
    label = str(entry["what"]).removeprefix("alert ").partition(" ")[0]
    return AlertRestored(str(entry["target"]), label, AlertMade(**made), undoes=entry["id"])  # type: ignore[typeddict-item]


def acknowledging(alert_id: str, label: str) -> Form:
    """Asks nothing but the question itself: three keys from the first screen."""
    effect = ["it stays in the list as acknowledged and leaves the badge"]
    change = AlertState(alert_id, label, ACKNOWLEDGED)
    return PlainForm(f"ACKNOWLEDGE the alert on {label}", "acknowledge it", effect, change)


def reopening(alert_id: str, label: str, was: str) -> Form:
    """Takes a verdict back."""
    effect = [f"it is {was} now; who was told of that finds it in the list again"]
    change = AlertState(alert_id, label, OPEN)
    return PlainForm(f"OPEN AGAIN the alert on {label}", "open it again", effect, change)


class ResolveForm(Form):
    """What was found, and why."""

    def __init__(self, alert_id: str, label: str, sessions: int) -> None:
        super().__init__([Field("found", choices=tuple(VERDICTS.values())), Field("note", free=True)])
        self.alert_id, self.label, self.sessions = alert_id, label, sessions
        self.title = f"RESOLVE the alert on {label}"

    def effect(self) -> list[str]:
        """What it does and does not do."""
        return [
            f"it is closed; only other evidence than that of its {counted(self.sessions, 'session')} raises one again"
        ]

    def question(self) -> str:
        """What ``y`` does."""
        try:
            return f"resolve it as: {VERDICTS[verdict_named(self.value('found'))]}"
        except ValueError:
            return "resolve it"

    def change(self, now: float) -> Change:
        """The change. Raises ValueError until a verdict is chosen."""
        verdict = verdict_named(self.value("found"))
        return AlertState(self.alert_id, self.label, RESOLVED, self.value("note").strip() or None, verdict)
