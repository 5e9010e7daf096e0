"""The line at the bottom that one types in: a filter, or a single ``y``."""

from __future__ import annotations

from textual import events
from textual.message import Message

from decnet.hostile import visible
from decnet_tui.widgets.strips import BAD, BOLD, CURSOR, PLAIN, Line, StripWidget

MAX_TEXT = 400


class Prompt(StripWidget, can_focus=True):
    """A line editor, or with ``confirm`` a question that only a typed ``y`` answers with yes."""

    class Changed(Message):
        """The text is another one."""

    class Done(Message):
        """Enter or Esc; ``accepted`` tells which."""

        def __init__(self, purpose: str, accepted: bool, text: str) -> None:
            super().__init__()
            self.purpose = purpose
            self.accepted = accepted
            self.text = text

    purpose = ""
    label = ""
    text = ""
    error = ""
    confirm = False

    def ask(self, purpose: str, label: str, text: str = "", *, confirm: bool = False) -> None:
        """Starts a question."""
        self.purpose, self.label, self.text, self.confirm, self.error = purpose, label, text, confirm, ""
        self.repaint()

    def explain(self, error: str) -> None:
        """Says what is wrong with the text so far."""
        self.error = error
        self.repaint()

    def build(self, width: int, height: int) -> list[Line]:
        """Label, the end of the text, a cursor, the explanation."""
        room = max(
            width - len(self.label) - 2 - (min(len(self.error) + 2, width // 2) if self.error else 0), 8
        )
        text = visible(self.text)[-room:]
        return [[(self.label, BOLD), (text, PLAIN), (" ", CURSOR), (f"  {self.error}", BAD)]]

    def on_key(self, event: events.Key) -> None:
        """All keys are for the line."""
        event.stop()
        event.prevent_default()
        if self.confirm:
            self.post_message(self.Done(self.purpose, event.character == "y", ""))
        elif event.key in ("enter", "escape"):
            if event.key == "enter" and self.error:
                return
            self.post_message(self.Done(self.purpose, event.key == "enter", self.text))
        else:
            self._edit(event)

    def _edit(self, event: events.Key) -> None:
        if event.key == "backspace":
            self._set(self.text[:-1])
        elif event.key == "ctrl+u":
            self._set("")
        elif event.key == "ctrl+w":
            self._set(self.text.rstrip().rpartition(" ")[0])
        elif event.character and event.is_printable:
            self._set(self.text + event.character)

    def on_paste(self, event: events.Paste) -> None:
        """A paste may fill a filter; it never answers a question."""
        event.stop()
        if not self.confirm:
            self._set(self.text + " ".join(event.text.split()))

    def _set(self, text: str) -> None:
        self.text = text[:MAX_TEXT]
        self.post_message(self.Changed())
        self.repaint()
