"""The inline form of the Rules view: paints a :class:`RuleForm` and hands it keys."""

from __future__ import annotations

import time

from textual import events
from textual.message import Message

from decnet.hostile import visible
from decnet_tui.ruleform import DURATIONS, RuleForm, parse_duration
from decnet_tui.screens.base import clock
from decnet_tui.widgets.strips import BAD, BOLD, CURSOR, FAINT, PLAIN, Line, StripWidget


class FormPane(StripWidget, can_focus=True):
    """Shows one form; posts :class:`Done` when it is sent or left."""

    class Done(Message):
        """``outcome`` is ``send`` or ``cancel``."""

        def __init__(self, outcome: str) -> None:
            super().__init__()
            self.outcome = outcome

    form: RuleForm | None = None
    fired_recently = 0

    def ask(self, form: RuleForm, fired_recently: int) -> None:
        """Starts with this form; ``fired_recently`` counts five minutes."""
        self.form = form
        self.fired_recently = fired_recently
        self.repaint()

    def build(self, width: int, height: int) -> list[Line]:
        """Title, fields, effect, keys, and the question or what is wrong."""
        form = self.form
        if form is None:
            return []
        title = f"- {form.word.upper()} {form.row['rule_id']} {form.row.get('name', '')} "
        lines: list[Line] = [[(visible(title, width - 1).ljust(width - 1, "-"), BOLD)]]
        lines += [self._field(form, name, width) for name in form.fields]
        lines.append([("  effect  ", FAINT), (self._effect(form), PLAIN)])
        lines.append([("  Tab next field   left/right choose   Enter review   Esc cancel", FAINT)])
        lines.append(self._last(form))
        return lines

    def _field(self, form: RuleForm, name: str, width: int) -> Line:
        mark = CURSOR if form.field == name and form.step == "edit" else PLAIN
        line: Line = [(f"  {name:<8}", FAINT)]
        value = form.values[name]
        if name == "for":
            return line + self._duration(value, mark)
        if name == "max":
            base = "unknown" if form.base is None else f"{form.base:.2f}"
            return [*line, (f"[{value}]", mark), (f"   the rule's own confidence is {base}", FAINT)]
        return [*line, (visible(value)[-(width - 14) :], PLAIN), (" ", mark)]

    def _duration(self, value: str, mark: object) -> Line:
        style = CURSOR if mark is CURSOR else BOLD
        line: Line = [(f"[{value}]", style)] if value not in DURATIONS else []
        for choice in DURATIONS:
            line.append(
                (f"[{choice}]" if choice == value else f" {choice} ", style if choice == value else PLAIN)
            )
        return [*line, ("   " + self._expiry(value), FAINT)]

    def _expiry(self, value: str) -> str:
        try:
            seconds = parse_duration(value)
        except ValueError:
            return "or type 5s, 90m, 2d"
        return "until changed" if seconds is None else f"expires {clock(time.time() + seconds, 'date')}Z"

    def _effect(self, form: RuleForm) -> str:
        hits = f"{self.fired_recently} firings in the last 5 min"
        if form.verb == "E":
            return "the rule fires again with its own confidence"
        if form.verb == "D":
            return f"{hits} would stop being tagged"
        return f"{hits} would be tagged with at most {form.values['max']}"

    def _last(self, form: RuleForm) -> Line:
        warning = f"  ({form.warning})" if form.warning else ""
        if form.error:
            return [(f"  {form.error}{warning}", BAD)]
        if form.step == "confirm":
            how = "" if form.verb == "E" else f" for {form.values['for']}"
            ask = (
                f"  > Type y to {form.word}{how.replace('for forever', 'for good')}, anything else cancels: "
            )
            return [(ask, BOLD), (" ", CURSOR), (warning, BAD)]
        return [(warning, BAD)]

    def on_key(self, event: events.Key) -> None:
        """All keys are for the form."""
        event.stop()
        event.prevent_default()
        if self.form is None:
            return
        outcome = self.form.key(event.key, event.character if event.is_printable else None)
        self.repaint()
        if outcome:
            self.post_message(self.Done(outcome))

    def on_paste(self, event: events.Paste) -> None:
        """Pastes go into the reason only."""
        event.stop()
        if self.form is not None:
            self.form.paste(event.text)
            self.repaint()
