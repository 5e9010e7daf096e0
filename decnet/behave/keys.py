"""One pass over a terminal recording: lines with their timing, and how they were struck.

Linear in the number of records, bounded in memory. Text is kept only as long as a line lives in this
process; what is typed at a password prompt is not even read, what is typed into a program is no line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from decnet.behave import thresholds as t
from decnet.behave.editor import LineEditor
from decnet.behave.prompts import SHELL, failed_answer, mode_after
from decnet.behave.rhythm import Rhythm
from decnet.behave.ttylog import OUTPUT, ReadState, chunks

_TOKEN = re.compile(
    rb"\x1b\[[0-9;?]{0,32}[ -/]{0,4}[@-~]|\x1bO[@-~]|\x1b[^\x1b\[O]|\x1b|[\x20-\x7e\x80-\xff]+|[\x00-\x1f\x7f]",
    re.DOTALL,
)
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-9;?]{0,32}|O)?\Z")
_SCREEN = re.compile(rb"\x1b\[\?(?:1049|1047|47)([hl])")
_DELETIONS = frozenset({"\x7f", "\x08", "\x1b[3~"})
_KILLS = frozenset({"\x15", "\x17", "\x0b"})
_SHORTCUTS = frozenset("\x01\x05\x12\x0c\x17\x15\x0b\x19\x14")
_EMACS = frozenset("\x01\x05\x17\x0b\x19")
_VI_FIRST = frozenset(b"hjklw0$xiaAIcdD")
_NUMPAD = re.compile(r"\x1bO[j-yM]\Z")
_TMUX_NEXT = frozenset('cnpdw%"&0123456789')
BREATHE_EVERY = 512
_KEPT_ANSWER, _KEPT_TAIL, _KEPT_ECHO = 512, 256, 16_384


@dataclass(slots=True)
class Line:
    """One line as it was sent or given up. ``pause`` is from the last output to the first key."""

    kind: str
    started: float
    ended: float = 0.0
    text: str = ""
    pause: float | None = None
    shown: int = 0
    live: int = 0
    pasted: int = 0
    deletions: int = 0
    gaps: int = 0
    gap_logs: float = 0.0
    gap_squares: float = 0.0
    pauses: int = 0
    recalled: bool = False
    unsure: bool = False
    failed: bool = False
    """What the shell answered was an error."""


@dataclass(slots=True)
class KeyFacts:
    """What one recording tells; counts, times and lines."""

    lines: list[Line] = field(default_factory=list)
    rhythm: Rhythm = field(default_factory=Rhythm)
    events: int = 0
    live: int = 0
    pasted: int = 0
    pastes: int = 0
    immediate: int = 0
    deferred: int = 0
    kills: int = 0
    abandoned: int = 0
    tabs: int = 0
    shortcuts: int = 0
    emacs_keys: int = 0
    vi_keys: int = 0
    numpad: int = 0
    tmux_keys: int = 0
    recalls: int = 0
    vents: int = 0
    """Runs of rapid deletions after several failures."""
    end_of_input: bool = False
    """Ctrl-D on an empty line."""
    layout: dict[str, int] = field(default_factory=dict)
    """A corrected letter and what replaced it, counted."""
    capped: bool = False
    first_at: float | None = None
    """Time of the first input or output, epoch seconds; None when there was none."""
    last_at: float = 0.0
    state: ReadState = field(default_factory=ReadState)


def read_keys(content: bytes, breathe: Callable[[], None] | None = None) -> KeyFacts:
    """The facts of a recording. Never raises, whatever the bytes are.

    ``breathe`` is called every few hundred records: a thread lets the others have the interpreter there.
    """
    reader = _Reader()
    reader.run(content, breathe)
    return reader.facts


class _Reader:
    """The state of the pass."""

    def __init__(self) -> None:
        self.facts = KeyFacts()
        self.editor = LineEditor()
        self.mode = SHELL
        self.line: Line | None = None
        self.last = 0.0
        self.last_char = ""
        self.output_at: float | None = None
        self.fresh = True
        self.shown = 0
        self.answer = b""
        self.tail = b""
        self.screen = False
        self.burst = 0
        self.burst_in_line = 0
        self.burst_whole = False
        self.pending_gap = 0.0
        self.pending_pair = ""
        self.bracket = False
        self.escape: tuple[float, bytes] | None = None
        self.after_return = False
        self.completing: list[bytes] | None = None
        self.deletion_run = 0
        self.deletion_since = 0.0
        self.deleted = ""
        self.failures = 0
        self.prefix = False
        self.input_bytes = 0
        self.now = 0.0

    def run(self, content: bytes, breathe: Callable[[], None] | None = None) -> None:
        facts = self.facts
        for number, (now, direction, data) in enumerate(chunks(content, facts.state)):
            if breathe is not None and not number % BREATHE_EVERY:
                breathe()
            self.now = now
            if facts.first_at is None:
                facts.first_at = now
            if direction == OUTPUT:
                if self.fresh or self.completing is not None or len(data) > 1:
                    self._output(now, data)
                continue
            facts.events += 1
            self.input_bytes += len(data)
            if self.input_bytes > t.MAX_INPUT_BYTES or len(facts.lines) >= t.MAX_LINES:
                facts.capped = True
                break
            if len(data) == 1 and 32 <= data[0] < 127 and self.escape is None and not self.bracket:
                self._printable(now, chr(data[0]))
            else:
                self._input(now, data)
        self._finish()

    # output

    def _output(self, now: float, data: bytes) -> None:
        if self.fresh:
            self.output_at = now
            self.shown += len(data)
            if len(self.answer) < _KEPT_ANSWER:
                self.answer += data[:_KEPT_ANSWER]
            self.tail = (self.tail + data[-_KEPT_TAIL:])[-_KEPT_TAIL:]
        elif self.completing is not None and len(self.completing) < _KEPT_ECHO:
            self.completing.append(data[:_KEPT_ECHO])
        if b"\x1b[?" in data:
            for match in _SCREEN.finditer(data):
                self.screen = match[1] == b"h"

    # input

    def _input(self, now: float, data: bytes) -> None:
        if self.escape is not None:
            data = self._with_escape(now, data)
        if b"\x1b" in data[-34:] and (match := _UNFINISHED.search(data, max(len(data) - 34, 0))):
            self.escape = (now, data[match.start() :])
            data = data[: match.start()]
        for found in _TOKEN.finditer(data):
            token = found.group().decode("latin-1")
            if token[0] >= " " and token[0] != "\x7f":
                self._printable(now, token)
            else:
                self._control(now, token)

    def _with_escape(self, now: float, data: bytes) -> bytes:
        """Joins a sequence that came in two chunks; a lone Escape before a vi key begins vi's commands."""
        assert self.escape is not None
        (then, begun), self.escape = self.escape, None
        if now - then < t.LONE_ESCAPE_S:
            return begun + data
        if (
            begun == b"\x1b"
            and self.mode == SHELL
            and self.line is not None
            and data[0:1]
            and data[0] in _VI_FIRST
        ):
            self.editor.command_mode = True
        return data

    def _printable(self, now: float, text: str) -> None:
        if self.fresh:
            self._begin(now)
        line = self.line
        if line is None:
            return
        if self.completing is not None:
            self._completed()
        if self.bracket:
            self._pasted(line, len(text))
        else:
            self._struck(now, text)
        if self.deleted:
            self._replaced(text)
        if self.prefix:
            self.prefix = False
            self.facts.tmux_keys += text[0] in _TMUX_NEXT
        self.deletion_run = 0
        self.after_return = False
        self.last = now
        self.last_char = text[-1]
        if self.mode == SHELL:
            editor = self.editor
            self.facts.vi_keys += editor.command_mode
            editor.insert(text)

    def _struck(self, now: float, text: str) -> None:
        """Bytes that come closer together than hands can strike are one burst."""
        gap = now - self.last
        if gap >= t.PASTE_GAP_S or not self.burst:
            if self.burst:
                self._close_burst()
            self.pending_gap = gap if self.last_char and gap >= t.PASTE_GAP_S else 0.0
            self.pending_pair = self.last_char + text[0]
        self.burst += len(text)
        self.burst_in_line += len(text)

    def _close_burst(self) -> None:
        """A short burst was struck by hand, a long one pasted; only the former has a rhythm."""
        line, facts = self.line, self.facts
        pasted = self.burst >= t.PASTE_MIN_CHARS or self.burst_whole
        if pasted:
            facts.pastes += 1
        elif self.pending_gap and line is not None:
            octave = facts.rhythm.add(self.pending_gap, self.pending_pair)
            if octave is None:
                line.pauses += 1
            else:
                line.gaps += 1
                line.gap_logs += octave
                line.gap_squares += octave * octave
        self._share_out(pasted=pasted)
        self.burst = 0
        self.burst_whole = False
        self.pending_gap = 0.0

    def _share_out(self, *, pasted: bool) -> None:
        """Gives the characters of the burst to the present line."""
        number, self.burst_in_line = self.burst_in_line, 0
        if self.line is not None:
            if pasted:
                self.line.pasted += number
            else:
                self.line.live += number
        if pasted:
            self.facts.pasted += number
        else:
            self.facts.live += number

    def _pasted(self, line: Line, number: int) -> None:
        line.pasted += number
        self.facts.pasted += number

    def _replaced(self, text: str) -> None:
        """One letter deleted and another one struck instead: which keys were mixed up."""
        before, self.deleted = self.deleted, ""
        if (
            self.deletion_run == 1
            and before.isalpha()
            and before != text[0]
            and len(self.facts.layout) < 1024
        ):
            pair = before + text[0]
            self.facts.layout[pair] = self.facts.layout.get(pair, 0) + 1

    def _control(self, now: float, token: str) -> None:
        if token in ("\r", "\n"):
            self._return(now, token)
            return
        if token == "\x00":
            return
        line = self._current(now)
        if line is None:
            if token == "\x03":
                self._ended(now, "secret")
            return
        if self.completing is not None and token != "\t":
            self._completed()
        within = self.burst >= t.PASTE_MIN_CHARS // 2 and now - self.last < t.PASTE_GAP_S
        if token == "\t" and within:
            self._struck(now, " ")  # white space of a paste asks for no completion
            return
        if self.burst:
            self._close_burst()
        self.after_return = False
        self._count(now, token, line)
        self.last, self.last_char = now, ""
        if self.mode == SHELL:
            self._edit(now, token, line)

    def _edit(self, now: float, token: str, line: Line) -> None:
        editor = self.editor
        if token == "\x03":
            if editor.buf:
                self.facts.abandoned += 1
            self._ended(now, "abandoned")
        elif token == "\x04" and not editor.buf:
            self.facts.end_of_input = True
            self._ended(now, "abandoned")
        elif token == "\t":
            self.completing = self.completing or []
        else:
            was = editor.place
            editor.key(token)
            self.facts.recalls += editor.place != was
            line.recalled |= editor.recalled

    def _count(self, now: float, token: str, line: Line) -> None:
        facts = self.facts
        if token in _DELETIONS:
            self._deleted(now, line)
            return
        self.deletion_run = 0
        self.deleted = ""
        self.prefix = token == "\x02"
        if token == "\x1b[200~":
            self.bracket = True
            facts.pastes += 1
        elif token == "\x1b[201~":
            self.bracket = False
        elif token == "\t":
            facts.tabs += 1
        elif token in _KILLS and self.editor.buf:
            facts.kills += 1
        if token in _SHORTCUTS or (len(token) == 2 and token[1] in "bfd.\x7f_"):
            facts.shortcuts += 1
            facts.emacs_keys += token in _EMACS
        elif len(token) == 3 and _NUMPAD.match(token):
            facts.numpad += 1

    def _deleted(self, now: float, line: Line) -> None:
        """The first of a run of deletions says how soon the slip was noticed."""
        line.deletions += 1
        self.deletion_run += 1
        if self.deletion_run == 1:
            self.deletion_since = now
            self.deleted = self.last_char
            if now - self.last <= t.IMMEDIATE_S:
                self.facts.immediate += 1
            else:
                self.facts.deferred += 1
        elif self.deletion_run == t.VENTING_DELETIONS and now - self.deletion_since <= t.IMMEDIATE_S:
            self.facts.vents += self.failures >= t.VENTING_FAILURES

    def _completed(self) -> None:
        """After Tab: what the shell added."""
        answer, self.completing = b"".join(self.completing or [])[:_KEPT_ECHO], None
        if self.mode == SHELL and self.line is not None and answer:
            self.line.unsure |= not self.editor.echo(answer.decode("latin-1"))

    # lines

    def _current(self, now: float) -> Line | None:
        """The line that a key belongs to, begun when need be; None at a password prompt."""
        if self.fresh:
            self._begin(now)
        return self.line

    def _begin(self, now: float) -> None:
        facts = self.facts
        if facts.lines and self.line is None:
            self._judge(facts.lines[-1])
        previous = facts.lines[-1].text if facts.lines and facts.lines[-1].kind == "command" else None
        self.mode = mode_after(self.mode, self.tail, previous, answered=bool(self.shown), screen=self.screen)
        if self.line is None or self.mode == SHELL or self.line.kind != self.mode:
            pause = None if self.output_at is None else now - self.output_at
            self.line = None if self.mode == "secret" else Line(self.mode, now, pause=pause, shown=self.shown)
            self.last_char = "" if not self.burst else self.last_char
        self.fresh = self.mode == "program"
        self.shown = 0
        self.answer = self.tail = b""

    def _judge(self, line: Line) -> None:
        if line.kind == "command" and self.answer and failed_answer(self.answer):
            line.failed = True
        self.failures = self.failures + 1 if line.failed else 0

    def _return(self, now: float, token: str) -> None:
        if token == "\n" and self.after_return and now - self.last < t.PASTE_GAP_S:
            self.after_return = False
            return
        line = self._current(now)
        if self.bracket and line is not None:
            self._pasted(line, 1)
            if self.mode == SHELL:
                self.editor.insert("\n")
            return
        if self.completing is not None:
            self._completed()
        self._burst_at_return(now)
        if self.mode == SHELL and line is not None:
            line.unsure |= self.editor.unsure
            line.recalled |= self.editor.recalled or self.editor.query is not None
            line.text = self.editor.submit()
        self._ended(now, "command")
        self.after_return = token == "\r"
        self.last = now

    def _burst_at_return(self, now: float) -> None:
        """A line that arrived whole, with its end, was not struck."""
        if not self.burst:
            return
        if now - self.last >= t.PASTE_GAP_S:
            self._close_burst()
            return
        line = self.line
        alone = line is not None and not line.live and not line.pasted
        self.burst_whole |= alone and self.burst_in_line > 1
        self.burst += 1
        self._share_out(pasted=self.burst_whole or self.burst >= t.PASTE_MIN_CHARS)

    def _ended(self, now: float, kind: str) -> None:
        line, self.line = self.line, None
        if line is not None and self.mode == SHELL:
            line.kind = kind
            line.ended = now
            if line.text or line.live or line.pasted or line.recalled:
                self.facts.lines.append(line)
        if kind == "abandoned":
            self.editor.reset()
        self.fresh = True
        self.output_at = None
        self.shown = 0
        self.answer = self.tail = b""
        self.completing = None

    def _finish(self) -> None:
        self.facts.last_at = self.now
        if self.burst:
            self._close_burst()
        if self.facts.lines and self.fresh:
            self._judge(self.facts.lines[-1])
