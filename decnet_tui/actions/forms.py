"""Inline forms: plain data, so that they are tested without a terminal.

Steps: ``edit`` (Tab between fields, Enter reviews) and ``confirm`` (a typed ``y`` sends; a paste never
does). A form without fields starts with the question.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as clock

from decnet import durations
from decnet_tui.actions.changes import Change

MAX_TEXT = 200
MAX_SECONDS = 3650 * 86_400.0


def parse_duration(text: str, now: datetime | None = None) -> float | None:
    """Seconds of ``1h30m``, ``5s``, ``2d``, ``until 18:00`` (UTC, today or tomorrow) or ``until`` an ISO date;

    None for ``forever``; ``now`` is aware. Raises ValueError that says the shape.
    """
    cleaned = text.strip().lower()
    if cleaned.startswith("until"):
        return _until(cleaned.removeprefix("until").strip(), now or datetime.now(UTC))
    try:
        seconds = durations.parse_duration(cleaned)
    except ValueError:
        raise ValueError(
            f"for how long? write 5s, 15m, 1h30m, 2d, until 18:00 or forever, not {cleaned or 'nothing'}"
        ) from None
    if seconds is not None and not 0 < seconds <= MAX_SECONDS:
        raise ValueError("a duration lies between 1s and 3650d")
    return seconds


def _until(text: str, now: datetime) -> float:
    """Seconds until a time of day or a date, in UTC."""
    try:
        if len(text) <= len("18:00:00") and ":" in text:
            moment = datetime.combine(now.date(), clock.fromisoformat(text.zfill(5)), UTC)
            moment += timedelta(days=moment <= now)
        else:
            moment = datetime.fromisoformat(text.upper())
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError:
        raise ValueError("until when? write until 18:00 or until 2026-12-24 18:00 (UTC)") from None
    seconds = (moment - now).total_seconds()
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError("that moment is over, or more than 3650d away")
    return seconds


@dataclass
class Field:
    """One field. ``choices`` are turned through with left and right; ``step`` does that for a number.

    ``free`` fields take any text and pastes; the others start anew with the first key.
    """

    name: str
    value: str = ""
    choices: tuple[str, ...] = ()
    free: bool = False
    step: Callable[[str, int], str] | None = None
    hint: Callable[[str], str] = lambda value: ""
    fresh: bool = True

    def key(self, key: str, character: str | None) -> None:
        """One key that is for the field."""
        if key in ("left", "right") and (self.choices or self.step):
            self._turn(1 if key == "right" else -1)
        elif key == "backspace":
            self.value = "" if self.fresh and not self.free else self.value[:-1]
            self.fresh = False
        elif key == "ctrl+u":
            self.value = ""
        elif character and character.isprintable():
            old = "" if self.fresh and not self.free else self.value
            self.value = (old + character)[:MAX_TEXT]
            self.fresh = False

    def _turn(self, by: int) -> None:
        self.fresh = True
        if self.step is not None:
            self.value = self.step(self.value, by)
            return
        at = self.choices.index(self.value) if self.value in self.choices else -1 if by > 0 else 0
        self.value = self.choices[(at + by) % len(self.choices)]


class Form(ABC):
    """One form. A subclass says its title, fields, effect, question and the change it makes."""

    title = ""

    def __init__(self, fields: list[Field] | None = None) -> None:
        self.fields = fields or []
        self.at = 0
        self.step = "edit" if self.fields else "confirm"
        self.error = ""
        self.warning = ""
        self.typed = ""
        """What was typed instead of a yes, when the question was answered with something else."""

    @abstractmethod
    def change(self, now: float) -> Change:
        """What would be sent at ``now`` (epoch seconds). Raises ValueError that says what is wrong."""

    @abstractmethod
    def question(self) -> str:
        """What ``y`` does: ``disable for 1h``."""

    def effect(self) -> list[str]:
        """What it would do, in a line or a few."""
        return []

    def value(self, name: str) -> str:
        """The text of one field."""
        return next(f.value for f in self.fields if f.name == name)

    def set(self, name: str, value: str) -> None:
        """Fills one field in."""
        field = next(f for f in self.fields if f.name == name)
        field.value, field.fresh = value[:MAX_TEXT], True

    @property
    def field(self) -> Field | None:
        """The field with the cursor."""
        return self.fields[self.at] if self.fields else None

    @property
    def height(self) -> int:
        """Lines that the form needs."""
        return len(self.fields) + len(self.effect()) + 3

    def key(self, key: str, character: str | None) -> str:
        """One key; returns ``cancel``, ``send`` or an empty string for "go on"."""
        self.error = ""
        if self.step == "confirm":
            return self._confirm(key, character)
        if key == "escape":
            return "cancel"
        if key == "enter":
            self._review()
        elif key in ("tab", "down", "shift+tab", "up"):
            self.at = (self.at + (-1 if key in ("shift+tab", "up") else 1)) % len(self.fields)
            self.fields[self.at].fresh = True
        elif self.field is not None:
            self.field.key(key, character)
        return ""

    def _confirm(self, key: str, character: str | None) -> str:
        if character == "y":
            return "send"
        self.typed = "" if key in ("escape", "enter") else character or ""
        self.step = "edit"
        return "" if key == "escape" and self.fields else "cancel"

    def _review(self) -> None:
        try:
            self.change(0.0)
        except ValueError as error:
            self.error = str(error)
        else:
            self.step = "confirm"

    def paste(self, text: str) -> None:
        """A paste goes into a free field only, without what no key could type; it never confirms."""
        if self.step == "edit" and self.field is not None and self.field.free:
            typed = "".join(filter(str.isprintable, " ".join(text.split())))
            self.field.value = (self.field.value + typed)[:MAX_TEXT]


class PlainForm(Form):
    """A change that needs no field but perhaps a reason."""

    def __init__(self, title: str, question: str, effect: list[str], change: Change) -> None:
        super().__init__([])
        self.title, self._question, self._effect, self._change = title, question, effect, change

    def change(self, now: float) -> Change:
        """The change as it was planned."""
        return self._change

    def question(self) -> str:
        """What ``y`` does."""
        return self._question

    def effect(self) -> list[str]:
        """What it would do."""
        return self._effect
