"""A small line editor: what stands on the command line after all corrections.

Keys come in as tokens (one key, one escape sequence, or a run of printable characters; bytes as
Latin-1 text), so that a corrected ``ls`` is ``ls``. Emacs keys as readline and Cowrie know them, and
the few vi keys that move or delete. It knows nothing of time; :mod:`decnet.behave.keys` drives it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

MAX_LINE = 4096
"""Characters of one line that are kept: the line limit of a Linux terminal (N_TTY_BUF_SIZE)."""
MAX_HISTORY = 500
"""Lines kept for recall: HISTSIZE of bash."""
MAX_SEARCHES = 200
"""History searches carried out in one session; later ones leave the line unknown."""
_ECHO = re.compile(r"\x1b\[(\d{0,4})([A-Za-z@])|([ -~\x80-\xff]+)|\x08|\x07|\x00|(.)", re.DOTALL)


class LineEditor:
    """One line at a time, its kill ring and its history."""

    def __init__(self) -> None:
        self.buf: list[str] = []
        self.cur = 0
        self.killed = ""
        self.history: list[str] = []
        self.place = 0
        self.recalled = False
        """History took part in the present line."""
        self.unsure = False
        """The line cannot be known from the keys alone (completion, a search that was not carried out)."""
        self.query: list[str] | None = None
        self.command_mode = False
        self.operator = ""
        self.searches = 0

    def text(self) -> str:
        """The line as it stands."""
        return "".join(self.buf)

    def insert(self, text: str) -> None:
        """Printable text at the cursor; in a history search it is the query, in vi's command mode keys."""
        if self.query is not None:
            if len(self.query) < MAX_LINE:
                self.query.extend(text)
        elif self.command_mode:
            for char in text[:MAX_LINE]:
                self._vi(char)
        elif self.cur == len(self.buf):
            self.buf.extend(text[: MAX_LINE - self.cur])
            self.cur = len(self.buf)
        else:
            room = text[: MAX_LINE - len(self.buf)]
            self.buf[self.cur : self.cur] = room
            self.cur += len(room)

    def key(self, token: str) -> bool:
        """One control key or escape sequence; whether it is one that edits a line."""
        action = _KEYS.get(token)
        if action is None:
            return False
        if self.query is not None:
            self._end_search(cancel=token in ("\x03", "\x07"))
        action(self)
        return True

    def submit(self) -> str:
        """The line is sent: its text, kept in the history; an empty line follows."""
        if self.query is not None:
            self._end_search(cancel=False)
        text = self.text()
        if text.strip() and (not self.history or self.history[-1] != text):
            self.history.append(text)
            if len(self.history) > 2 * MAX_HISTORY:
                del self.history[:MAX_HISTORY]
        self.reset()
        return text

    def reset(self) -> None:
        """An empty line, as after Enter or Ctrl-C."""
        self.buf = []
        self.cur = 0
        self.place = len(self.history)
        self.recalled = self.unsure = self.command_mode = False
        self.operator = ""
        self.query = None

    def echo(self, output: str) -> bool:
        """What the shell wrote after Tab: its completion becomes part of the line; False when it is a list."""
        for match in _ECHO.finditer(output[: 4 * MAX_LINE]):
            count, final, plain, other = match.groups()
            if plain:
                self.command_mode = False
                self.insert(plain)
            elif other is not None:
                return False
            elif final:
                self._echo_control(final, min(int(count or 1), MAX_LINE))
            elif match.group() == "\x08":
                self.cur = max(self.cur - 1, 0)
        return True

    def _echo_control(self, final: str, count: int) -> None:
        if final == "D":
            self.cur = max(self.cur - count, 0)
        elif final == "C":
            self.cur = min(self.cur + count, len(self.buf))
        elif final == "P":
            del self.buf[self.cur : self.cur + count]
        elif final == "K":
            del self.buf[self.cur :]

    def begin_search(self) -> None:
        """Ctrl-R: what follows is the query."""
        self.query = []

    def _end_search(self, *, cancel: bool) -> None:
        query, self.query = "".join(self.query or ())[:MAX_LINE], None
        if cancel or not query:
            return
        self.recalled = True
        self.searches += 1
        found = None
        if self.searches <= MAX_SEARCHES:
            found = next((line for line in reversed(self.history[-MAX_HISTORY:]) if query in line), None)
        self.unsure |= found is None
        self._show(query if found is None else found)

    def _show(self, line: str) -> None:
        self.buf = list(line)
        self.cur = len(self.buf)

    def recall(self, step: int) -> None:
        """One line back (-1) or forward (1) in the history."""
        oldest = max(len(self.history) - MAX_HISTORY, 0)
        place = self.place + step
        if oldest <= place < len(self.history):
            self.place = place
            self.recalled = True
            self._show(self.history[place])
        elif place >= len(self.history):
            self.place = len(self.history)
            self._show("")
        elif step < 0:
            self.recalled = self.unsure = True  # older than this session: only the shell knows

    def backspace(self) -> None:
        """Takes the character before the cursor away, all bytes of it."""
        while self.cur:
            self.cur -= 1
            byte = self.buf.pop(self.cur)
            if not "\x80" <= byte < "\xc0":
                return

    def delete(self) -> None:
        """Takes the character at the cursor away."""
        if self.cur < len(self.buf):
            del self.buf[self.cur]
            while self.cur < len(self.buf) and "\x80" <= self.buf[self.cur] < "\xc0":
                del self.buf[self.cur]

    def move(self, step: int) -> None:
        """Moves the cursor within the line."""
        self.cur = min(max(self.cur + step, 0), len(self.buf))

    def _kill(self, start: int, end: int) -> None:
        if end > start:
            self.killed = "".join(self.buf[start:end])
            del self.buf[start:end]
            self.cur = start

    def kill_line(self) -> None:
        """Ctrl-U."""
        self._kill(0, self.cur)

    def kill_rest(self) -> None:
        """Ctrl-K."""
        self._kill(self.cur, len(self.buf))

    def kill_word(self) -> None:
        """Ctrl-W."""
        self._kill(self._word_start(), self.cur)

    def kill_word_right(self) -> None:
        """Alt-D."""
        self._kill(self.cur, self._word_right())

    def yank(self) -> None:
        """Ctrl-Y."""
        self.insert(self.killed)

    def home(self) -> None:
        """To the start of the line."""
        self.cur = 0

    def end(self) -> None:
        """To the end of the line."""
        self.cur = len(self.buf)

    def word_left(self) -> None:
        """One word back."""
        self.cur = self._word_start()

    def word_right(self) -> None:
        """One word on."""
        self.cur = self._word_right()

    def _word_start(self) -> int:
        i = self.cur
        while i and self.buf[i - 1] == " ":
            i -= 1
        while i and self.buf[i - 1] != " ":
            i -= 1
        return i

    def _word_right(self) -> int:
        i, n = self.cur, len(self.buf)
        while i < n and self.buf[i] == " ":
            i += 1
        while i < n and self.buf[i] != " ":
            i += 1
        return i

    def vi_word(self) -> int:
        """Where vi's next word begins."""
        i, n = self.cur, len(self.buf)
        while i < n and self.buf[i] != " ":
            i += 1
        while i < n and self.buf[i] == " ":
            i += 1
        return i

    def vi_next(self) -> None:
        """vi's ``w``."""
        self.cur = self.vi_word()

    def swap(self) -> None:
        """Ctrl-T: the two characters around the cursor change places."""
        if self.cur and len(self.buf) > 1:
            i = min(self.cur, len(self.buf) - 1)
            self.buf[i - 1], self.buf[i] = self.buf[i], self.buf[i - 1]
            self.cur = i + 1

    def last_argument(self) -> None:
        """Alt-.: the last word of the line before."""
        if self.history:
            self.recalled = True
            self.insert(self.history[-1].rstrip().rpartition(" ")[2])

    def nothing(self) -> None:
        """A key that changes no line (Ctrl-L, paste marks)."""

    def _vi(self, char: str) -> None:
        """vi's command mode, the keys that matter for the text."""
        if self.operator:
            self._vi_operator(char)
            return
        if char in "dc":
            self.operator = char
            return
        action = _VI.get(char)
        if action is not None:
            action(self)
        if char in "iaAIsSC":
            self.command_mode = False

    def _vi_operator(self, char: str) -> None:
        """``dd``, ``dw``, ``d$`` and their like with ``c``."""
        operator, self.operator = self.operator, ""
        if char == operator:
            self._kill(0, len(self.buf))
        elif char == "w":
            self._kill(self.cur, self._word_right() if operator == "c" else self.vi_word())
        elif char == "$":
            self.kill_rest()
        if operator == "c":
            self.command_mode = False


def _moved(step: int) -> Callable[[LineEditor], None]:
    return lambda editor: editor.move(step)


def _recalled(step: int) -> Callable[[LineEditor], None]:
    return lambda editor: editor.recall(step)


_E = LineEditor
_KEYS: dict[str, Callable[[LineEditor], None]] = {
    **dict.fromkeys(("\x7f", "\x08"), _E.backspace),
    **dict.fromkeys(("\x04", "\x1b[3~"), _E.delete),
    **dict.fromkeys(("\x01", "\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~"), _E.home),
    **dict.fromkeys(("\x05", "\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~"), _E.end),
    **dict.fromkeys(("\x02", "\x1b[D", "\x1bOD"), _moved(-1)),
    **dict.fromkeys(("\x06", "\x1b[C", "\x1bOC"), _moved(1)),
    **dict.fromkeys(("\x10", "\x1b[A", "\x1bOA"), _recalled(-1)),
    **dict.fromkeys(("\x0e", "\x1b[B", "\x1bOB"), _recalled(1)),
    **dict.fromkeys(("\x1bb", "\x1b[1;5D", "\x1b[1;3D", "\x1bOd"), _E.word_left),
    **dict.fromkeys(("\x1bf", "\x1b[1;5C", "\x1b[1;3C", "\x1bOc"), _E.word_right),
    **dict.fromkeys(("\x17", "\x1b\x7f", "\x1b\x08"), _E.kill_word),
    **dict.fromkeys(("\x1b.", "\x1b_"), _E.last_argument),
    **dict.fromkeys(("\x0c", "\x1b[200~", "\x1b[201~", "\x1b[5~", "\x1b[6~", "\x07"), _E.nothing),
    "\x1bd": _E.kill_word_right,
    "\x15": _E.kill_line,
    "\x0b": _E.kill_rest,
    "\x19": _E.yank,
    "\x14": _E.swap,
    "\x12": _E.begin_search,
    "\x03": _E.reset,
}
_VI: dict[str, Callable[[LineEditor], None]] = {
    "h": _moved(-1),
    "l": _moved(1),
    "a": _moved(1),
    "k": _recalled(-1),
    "j": _recalled(1),
    "0": _E.home,
    "^": _E.home,
    "I": _E.home,
    "$": _E.end,
    "A": _E.end,
    "b": _E.word_left,
    "w": _E.vi_next,
    "x": _E.delete,
    "X": _E.backspace,
    "D": _E.kill_rest,
    "C": _E.kill_rest,
    "p": _E.yank,
    "S": _E.reset,
}
