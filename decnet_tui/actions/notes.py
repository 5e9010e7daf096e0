"""Writing down a note about an alert or a source; it stands on that page, and the journal says who wrote it."""

from __future__ import annotations

from dataclasses import dataclass, field

from decnet.db.rows.notes import SOURCE
from decnet.errors import DecnetError
from decnet_tui.actions.changes import Change
from decnet_tui.actions.forms import Field, Form
from decnet_tui.model.access import Session, need_store

KIND = "note"


@dataclass
class NoteWritten(Change):
    """One note; ``about`` is alert or source, ``ident`` its id."""

    about: str
    ident: str
    label: str
    reason: str | None = None
    kind = KIND
    _number: int = field(default=0, init=False)

    @property
    def target(self) -> str:  # type: ignore[override]
        """What it is about."""
        return self.ident

    @property
    def what(self) -> str:
        """Short enough for a line of the journal."""
        return f"note on {'' if self.about == SOURCE else 'alert '}{self.label}"

    async def send(self, session: Session) -> None:
        """Keeps it. Raises DecnetError for one without words."""
        try:
            self._number = await need_store(session).note_add(
                self.about, self.ident, self.reason or "", session.operator
            )
        except ValueError as error:
            raise DecnetError(str(error)) from error

    async def held(self, session: Session) -> str:
        """Empty when it can be read back."""
        notes = await need_store(session).notes_of(self.about, self.ident)
        found = any((note["id"], note["body"]) == (self._number, self.reason) for note in notes)
        return "" if found else "the store does not read it back"


class NoteForm(Form):
    """The words of a note."""

    def __init__(self, about: str, ident: str, label: str) -> None:
        super().__init__([Field("note", free=True)])
        self.about, self.ident, self.label = about, ident, label
        self.title = f"NOTE on {'' if about == SOURCE else 'the alert on '}{label}"

    def effect(self) -> list[str]:
        """Where it will stand."""
        where = "source's" if self.about == SOURCE else "alert's"
        return [f"it stands on the {where} page, with your name"]

    def question(self) -> str:
        """What ``y`` does."""
        return "write this note"

    def change(self, now: float) -> Change:
        """The change. Raises ValueError for an empty note."""
        text = self.value("note").strip()
        if not text:
            raise ValueError("a note has words")
        return NoteWritten(self.about, self.ident, self.label, text)
