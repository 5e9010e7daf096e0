"""The line at the bottom that one types in: a filter, a command, or a single ``y``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from textual import events

from decnet.hostile import visible
from decnet_tui.widgets.strips import BAD, BOLD, CURSOR, FAINT, PLAIN, Line, StripWidget, fit

MAX_TEXT = 400
LEAST = 16
"""Columns of the typed text that stay when an explanation needs room."""


@dataclass
class Question:
    """What is asked, and what happens with the answer.

    ``changed`` gets the text after each key and says what is wrong with it (empty: nothing); ``done`` gets
    whether it was accepted, and the text. With ``confirm`` only a typed ``y`` accepts. ``complete`` gives
    whole lines that could be meant; ``history`` is newest last; ``moved`` gets up and down when there is none.
    """

    label: str
    done: Callable[[bool, str], None]
    text: str = ""
    confirm: bool = False
    changed: Callable[[str], str] | None = None
    complete: Callable[[str], Sequence[str]] | None = None
    history: list[str] = field(default_factory=list)
    moved: Callable[[int], None] | None = None
    answers: str = "y"
    """Letters that accept a confirmation; the text is the one that was typed."""
    hint: str = ""
    """What is said beside the line until something is typed."""


class Prompt(StripWidget):
    """A line editor, or a question that only a typed ``y`` answers with yes.

    The app hands it keys while it asks: focus moves too late for keys that come in one burst.
    """

    question: Question | None = None
    text = ""
    error = ""
    hint = ""
    _at = 0
    """SourcePosition in the history, counted from its end; 0 is the line being typed."""
    _typed = ""

    def ask(self, question: Question) -> None:
        """Starts a question."""
        self.question, self.text, self.error, self.hint, self._at = (
            question,
            question.text,
            "",
            question.hint,
            0,
        )
        self.repaint()

    def explain(self, error: str) -> None:
        """Says what is wrong with the text so far."""
        self.error = error
        self.repaint()

    def build(self, width: int, height: int) -> list[Line]:
        """Label, the end of the text, a cursor, the explanation."""
        label = self.question.label if self.question else ""
        tail = self.error or self.hint
        # What is wrong is said whole; of the text its end is enough meanwhile.
        room = max(
            width - len(label) - 2 - (len(tail) + 2 if tail else 0), LEAST if self.error else width // 2
        )
        tail = fit(tail, max(width - len(label) - 3 - min(len(visible(self.text)), room), 0)).rstrip()
        shown = visible(self.text)[-room:]
        return [[(label, BOLD), (shown, PLAIN), (" ", CURSOR), (f"  {tail}", BAD if self.error else FAINT)]]

    def take(self, event: events.Key) -> None:
        """One key; all are for the line."""
        question = self.question
        if question is None:
            return
        if question.confirm:
            self.text = event.character or ""
            self._end(bool(self.text) and self.text in question.answers)
        elif event.key == "escape" or (event.key == "enter" and not self.error):
            self._end(event.key == "enter")
        elif event.key in ("up", "down"):
            self._up_down(question, 1 if event.key == "up" else -1)
        elif event.key == "tab":
            self._complete(question)
        else:
            self._edit(event)

    def _end(self, accepted: bool) -> None:
        question, self.question = self.question, None
        if question is not None:
            question.done(accepted, self.text)

    def _edit(self, event: events.Key) -> None:
        if event.key == "backspace":
            self._set(self.text[:-1])
        elif event.key == "ctrl+u":
            self._set("")
        elif event.key == "ctrl+w":
            self._set(self.text.rstrip().rpartition(" ")[0])
        elif event.character and event.is_printable:
            self._set(self.text + event.character)

    def _up_down(self, question: Question, by: int) -> None:
        if question.moved is not None:
            question.moved(-by)
            return
        if not self._at:
            self._typed = self.text
        self._at = min(max(self._at + by, 0), len(question.history))
        self._set(question.history[-self._at] if self._at else self._typed)

    def _complete(self, question: Question) -> None:
        found = list(question.complete(self.text)) if question.complete else []
        if not found:
            return
        self._set(found[0] if len(found) == 1 else max(_common(found), self.text, key=len))
        self.hint = "" if len(found) == 1 else "  ".join(f.rsplit(" ", 1)[-1] for f in found[:12])
        self.repaint()

    def take_paste(self, event: events.Paste) -> None:
        """A paste may fill a line; it never answers a question."""
        if self.question is not None and not self.question.confirm:
            self._set(self.text + " ".join(event.text.split()))

    def _set(self, text: str) -> None:
        self.text, self.hint = text[:MAX_TEXT], ""
        if self.question is not None and self.question.changed is not None:
            self.error = self.question.changed(self.text)
        self.repaint()


def _common(texts: Sequence[str]) -> str:
    """The beginning that all share."""
    first, last = min(texts), max(texts)
    same = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    return first[:same]
