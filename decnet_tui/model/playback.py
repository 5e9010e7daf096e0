"""Plays a terminal recording: output bytes with times become a screen of plain lines. Knows no Textual.

What an attacker made the honeypot print is hostile: it is fed to an emulator in memory, never to the
terminal, in small pieces (a tick is bounded in time), and only its visible text comes out.
"""

from __future__ import annotations

import bisect
import time
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pyte
from pyte.screens import wcwidth

from decnet.behave.ttylog import OUTPUT, ReadState, chunks
from decnet.hostile import visible

MAX_OUTPUT = 4 * 2**20
"""Output bytes that are played; the rest of a longer recording is said to be left out."""
TICK_S = 0.01
"""Seconds of emulation in one tick at most, give or take one piece."""
PIECE = 64
"""Bytes fed at once: a few bytes can mean much work for an emulator."""
LONGEST_PAUSE_S = 3.0
"""A pause in the recording is shortened to so many seconds."""
SPEEDS = (0.5, 1.0, 2.0, 5.0, 20.0)
SEQUENCE = 64
"""Pieces after which a control sequence that does not end is given up, so that it cannot swallow all that follows."""
COLUMNS, ROWS = (20, 200), (5, 100)


class Frame(NamedTuple):
    """``at`` is seconds of playing time, ``ts`` epoch seconds of the recording."""

    at: float
    ts: float
    data: bytes


def frames_of(content: bytes, state: ReadState | None = None) -> tuple[list[Frame], bool]:
    """Output with its playing time, pauses shortened; whether something was left out."""
    state = state or ReadState()
    out: list[Frame] = []
    at, last, size = 0.0, None, 0
    for ts, direction, data in chunks(content, state):
        at += 0.0 if last is None else min(max(ts - last, 0.0), LONGEST_PAUSE_S)
        last = ts
        if direction != OUTPUT:
            continue
        size += len(data)
        if size > MAX_OUTPUT:
            return out, True
        out.append(Frame(at, ts, data))
    return out, state.truncated or state.capped


def screen_size(size: Any) -> tuple[int, int]:
    """Columns and rows of a session's terminal, within bounds; 80x24 when unknown."""
    text = str(size or "")
    left, _, right = text.lower().partition("x")
    if not (left.isdecimal() and right.isdecimal() and len(text) < 12):
        return 80, 24
    columns, rows = int(left), int(right)
    return min(max(columns, COLUMNS[0]), COLUMNS[1]), min(max(rows, ROWS[0]), ROWS[1])


def _drawn(text: str) -> str:
    """What stands on cells of its own, as a terminal shows it.

    The emulator leaves out what follows an invisible character, which would hide it from the operator, and
    piles up marks on one cell without end, at a cost that grows with the pile.
    """
    if text.isascii():
        return text
    return "".join(c for c in unicodedata.normalize("NFC", text) if wcwidth(c) > 0)


class _Screen(pyte.Screen):
    """Without the sequences that repaint or resize the whole screen at will: no shell session needs them."""

    def draw(self, data: str) -> None:
        """Text."""
        super().draw(_drawn(data))

    def save_cursor(self) -> None:
        """One place is kept, as in a terminal, rather than one for each time it is asked for."""
        self.savepoints.clear()
        super().save_cursor()

    def alignment_display(self) -> None:
        """DECALN fills the screen with E."""

    def set_mode(self, *modes: int, **kwargs: Any) -> None:
        """Not DECCOLM (132 columns) and DECSCNM (all inverse)."""
        super().set_mode(*(m for m in modes if m not in (3, 5)), **kwargs)

    def reset_mode(self, *modes: int, **kwargs: Any) -> None:
        """The same."""
        super().reset_mode(*(m for m in modes if m not in (3, 5)), **kwargs)


class Player:
    """One recording being played. ``marks`` are moments (epoch seconds) that can be jumped to."""

    def __init__(self, content: bytes, size: tuple[int, int] = (80, 24), marks: Iterable[float] = ()) -> None:
        self.frames, self.cut = frames_of(content)
        self.size = size
        self.marks: Sequence[float] = sorted(marks)
        self.speed = 1.0
        self.paused = False
        self.at = 0.0
        self._rewind()

    def _rewind(self) -> None:
        self._screen = _Screen(*self.size)
        self._screen.set_mode(pyte.modes.LNM)  # Cowrie records a bare line feed where a terminal got both
        self._stream = pyte.ByteStream(self._screen)
        self._frame, self._offset, self._inside = 0, 0, 0

    @property
    def length(self) -> float:
        """Seconds of playing time."""
        return self.frames[-1].at if self.frames else 0.0

    @property
    def ended(self) -> bool:
        """Whether all output stands on the screen."""
        return self._frame >= len(self.frames)

    @property
    def moment(self) -> float | None:
        """Epoch seconds of the last output on the screen."""
        return self.frames[max(self._frame - 1, 0)].ts if self.frames else None

    def advance(self, seconds: float) -> bool:
        """Plays on for so many seconds of the viewer's time; whether the screen changed."""
        if not self.paused and not self.ended:
            self.at = min(self.at + max(seconds, 0.0) * self.speed, self.length)
        return self._catch_up()

    def _catch_up(self) -> bool:
        """Feeds what is due, for a tick at most; a long output takes several."""
        until, fed = time.perf_counter() + TICK_S, False
        while not self.ended and self.frames[self._frame].at <= self.at and time.perf_counter() < until:
            whole = self.frames[self._frame].data
            self._feed(whole[self._offset : self._offset + PIECE])
            self._offset += PIECE
            if self._offset >= len(whole):
                self._frame, self._offset = self._frame + 1, 0
            fed = True
        return fed

    def _feed(self, data: bytes) -> None:
        """The emulator may choke on sequences that no terminal ever sends; then they are skipped."""
        try:
            self._stream.feed(data)
        except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError):
            self._stream = pyte.ByteStream(self._screen)
        self._inside = 0 if self._stream._taking_plain_text else self._inside + 1
        if self._inside > SEQUENCE:
            self._stream, self._inside = pyte.ByteStream(self._screen), 0

    def faster(self, by: int) -> float:
        """The next or last speed."""
        at = SPEEDS.index(self.speed) + by
        self.speed = SPEEDS[min(max(at, 0), len(SPEEDS) - 1)]
        return self.speed

    def seek(self, ts: float) -> None:
        """Goes to a moment of the recording (epoch seconds)."""
        place = bisect.bisect_left([frame.ts for frame in self.frames], ts)
        target = self.frames[min(place, len(self.frames) - 1)].at if self.frames else 0.0
        if target < self.at:
            self._rewind()
        self.at = target

    def next_mark(self) -> float | None:
        """Jumps to the next marked moment, the first one after the last; None without marks."""
        if not self.marks or not self.frames:
            return None
        now = self.frames[min(self._due(), len(self.frames) - 1)].ts
        later = [mark for mark in self.marks if mark > now + 0.001]
        mark = later[0] if later else self.marks[0]
        self.seek(mark)
        return mark

    def _due(self) -> int:
        return max(bisect.bisect_right([frame.at for frame in self.frames], self.at) - 1, 0)

    def restart(self) -> None:
        """From the beginning."""
        self.at, self.paused = 0.0, False
        self._rewind()

    def lines(self) -> list[str]:
        """The screen as visible text."""
        buffer, columns = self._screen.buffer, range(self._screen.columns)
        rows = ("".join(buffer[y][x].data for x in columns) for y in range(self._screen.lines))
        return [visible(row.rstrip(), self.size[0]) for row in rows]
