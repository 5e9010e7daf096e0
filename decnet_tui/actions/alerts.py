"""Changing alerts: acknowledge, resolve, and a note that stays in the journal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from decnet.errors import DecnetError
from decnet_tui.actions.changes import Change
from decnet_tui.actions.forms import Field, Form
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.keys import key
from decnet_tui.model.words import counted


@dataclass
class AlertState(Change):
    """Acknowledges or resolves one alert. There is no way back: a new one is raised when the evidence changes."""

    alert_id: str
    label: str
    state: str
    reason: str | None = None
    kind = "alert.state"

    @property
    def target(self) -> str:  # type: ignore[override]
        """The alert."""
        return self.alert_id

    @property
    def what(self) -> str:
        """Actor and state, short enough for a line of the journal at 80 columns."""
        return f"alert {self.label} {self.state}"

    def after(self) -> dict[str, Any]:
        """The state asked for."""
        return {"state": self.state}

    async def send(self, session: Session) -> None:
        """Writes the state. Raises DecnetError for an alert that is gone or resolved already."""
        try:
            row = await need_store(session).set_alert_state(self.alert_id, self.state, session.operator)
        except ValueError as error:
            raise DecnetError(str(error)) from error
        if row is None:
            raise DecnetError(f"no alert {self.alert_id}")

    async def held(self, session: Session) -> str:
        """Empty when the store holds that state."""
        row = await need_store(session).get_alert(self.alert_id)
        state = row["state"] if row else "no such alert"
        return "" if state == self.state else f"the store reads back {state}"


@dataclass
class AlertNote(Change):
    """A note on an alert; the journal is where it stands."""

    alert_id: str
    label: str
    reason: str | None = None
    kind = "alert.note"

    @property
    def target(self) -> str:  # type: ignore[override]
        """The alert."""
        return self.alert_id

    @property
    def what(self) -> str:
        """The alert."""
        return f"note on alert {self.label}"

    async def send(self, session: Session) -> None:
        """Nothing more than the journal's line, which is written already."""
        need_store(session)


class AlertForm(Form):
    """What is to be done with an alert, and why."""

    def __init__(self, alert_id: str, label: str, verb: str, sessions: int) -> None:
        super().__init__([Field("note", free=True)])
        self.alert_id, self.label, self.verb, self.sessions = alert_id, label, verb, sessions
        self.title = f"{verb.upper()} the alert on {label}"

    def effect(self) -> list[str]:
        """What it does and does not do."""
        return {
            "acknowledge": ["it stays in the list as acknowledged and leaves the badge"],
            "resolve": [f"it is closed; only other evidence than that of its {counted(self.sessions, 'session')} raises one again"],
            "note": [f"the note stands in the journal (view {key('view.journal')}) with your name"],
        }[self.verb]  # fmt: skip

    def question(self) -> str:
        """What ``y`` does."""
        return "write this note" if self.verb == "note" else f"{self.verb} it"

    def change(self, now: float) -> Change:
        """The change. Raises ValueError for an empty note."""
        text = self.value("note").strip()
        if self.verb == "note":
            if not text:
                raise ValueError("a note has words")
            return AlertNote(self.alert_id, self.label, text)
        state = {"acknowledge": "acknowledged", "resolve": "resolved"}[self.verb]
        return AlertState(self.alert_id, self.label, state, text or None)
