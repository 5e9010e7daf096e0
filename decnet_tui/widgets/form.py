"""The inline form: paints what is asked, its fields and its effect, and hands it keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from textual import events

from decnet.hostile import visible
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.strips import BAD, BOLD, CURSOR, FAINT, PLAIN, Line, StripWidget


class Field(Protocol):
    """One field of what is asked."""

    @property
    def name(self) -> str:
        """What stands in front of it."""
        ...

    @property
    def value(self) -> str:
        """What stands in it."""
        ...

    @property
    def choices(self) -> Sequence[str]:
        """What left and right turn through."""
        ...

    @property
    def step(self) -> Callable[[str, int], str] | None:
        """What left and right do to a number."""
        ...

    @property
    def free(self) -> bool:
        """Whether it takes any text."""
        ...

    @property
    def hint(self) -> Callable[[str], str]:
        """What is said beside a value."""
        ...


class Form(Protocol):
    """What is asked."""

    title: str
    step: str
    error: str
    warning: str

    @property
    def fields(self) -> Sequence[Field]:
        """Its fields."""
        ...

    @property
    def field(self) -> Field | None:
        """The one with the cursor."""
        ...

    @property
    def height(self) -> int:
        """Lines that it needs."""
        ...

    def effect(self) -> list[str]:
        """What it would do."""
        ...

    def question(self) -> str:
        """What ``y`` does."""
        ...

    def key(self, key: str, character: str | None) -> str:
        """One key; ``cancel``, ``send`` or an empty string for "go on"."""
        ...

    def paste(self, text: str) -> None:
        """A paste."""
        ...


F = TypeVar("F", bound=Form)


class FormPane(StripWidget):
    """Shows one form, which the app hands keys; :attr:`done` is called when it is sent or left."""

    form: Form | None = None
    done: Callable[[Any, bool], None]

    def ask(self, form: F, done: Callable[[F, bool], None]) -> None:
        """Starts with this form; ``done`` gets whether it was sent."""
        self.form, self.done = form, done
        self.styles.height = form.height
        self.repaint()

    def build(self, width: int, height: int) -> list[Line]:
        """Title, fields, effect, keys, and the question or what is wrong."""
        form = self.form
        if form is None:
            return []
        rule = glyphs.current().rule
        title = f"{rule} {visible(form.title)} "
        lines: list[Line] = [[(visible(title, width - 1).ljust(width - 1, rule), BOLD)]]
        lines += [self._field(form, field, width) for field in form.fields]
        for i, text in enumerate(form.effect()):
            lines.append([("  effect  " if not i else " " * 10, FAINT), (visible(text, width - 11), PLAIN)])
        lines.append([(_keys(form, width), FAINT)])
        lines.append(_last(form))
        return lines

    def _field(self, form: Form, field: Field, width: int) -> Line:
        here = form.field is field and form.step == "edit"
        name: Line = [(f"  {visible(field.name, 7):<8}", FAINT)]
        if field.free:
            return [*name, (visible(field.value)[-(width - 14) :], PLAIN), (" ", CURSOR if here else PLAIN)]
        line = (
            _choices(field, here)
            if field.choices
            else [(f"[{visible(field.value)}]", CURSOR if here else BOLD)]
        )
        return [*name, *line, ("   " + visible(field.hint(field.value)), FAINT)]

    def take(self, event: events.Key) -> None:
        """One key; all are for the form."""
        form = self.form
        if form is None:
            return
        outcome = form.key(event.key, event.character if event.is_printable else None)
        self.repaint()
        if outcome:
            self.form = None
            self.done(form, outcome == "send")

    def take_paste(self, event: events.Paste) -> None:
        """Pastes go into free fields only."""
        if self.form is not None:
            self.form.paste(event.text)
            self.repaint()


def _choices(field: Field, here: bool) -> Line:
    chosen = CURSOR if here else BOLD
    typed: Line = [(f"[{visible(field.value)}]", chosen)] if field.value not in field.choices else []
    return typed + [
        (
            f"[{choice}]" if choice == field.value else f" {choice} ",
            chosen if choice == field.value else PLAIN,
        )
        for choice in field.choices
    ]


def _keys(form: Form, width: int) -> str:
    if form.step == "confirm":
        return "  Esc back" if form.fields else ""
    turn = "   left/right choose" if any(f.choices or f.step for f in form.fields) else ""
    text = f"  Tab next field{turn}   Enter review   Esc cancel"
    return text if len(text) < width else "  Tab next   Enter review   Esc cancel"


def _last(form: Form) -> Line:
    warning = f"  ({visible(form.warning)})" if form.warning else ""
    if form.error:
        return [(f"  {visible(form.error)}{warning}", BAD)]
    if form.step == "confirm":
        ask = f"  > Type y to {visible(form.question())}, anything else cancels: "
        return [(ask, BOLD), (" ", CURSOR), (warning, BAD)]
    return [(warning, BAD)]
