"""The one place that touches Textual's private parts: writing to the terminal, OSC 52 (capped) and questions.

Textual's own ``copy_to_clipboard`` has no cap and does not reach through tmux.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any

from decnet.hostile import visible

if TYPE_CHECKING:
    from textual.app import App

MAX_BYTES = 65_536
"""Bytes copied at most; terminals drop or choke on more."""


def osc52(text: str, *, tmux: bool) -> str:
    """The escape sequence that copies ``text``, each line made visible first."""
    safe = "\n".join(visible(line) for line in text[:MAX_BYTES].split("\n")).encode()[:MAX_BYTES]
    sequence = f"\x1b]52;c;{base64.b64encode(safe).decode()}\a"
    return f"\x1bPtmux;{sequence.replace(chr(27), chr(27) * 2)}\x1b\\" if tmux else sequence


def copy(app: App[Any], text: str) -> int:
    """Sends ``text`` to the terminal's clipboard; returns how many characters were taken."""
    _write(app, osc52(text, tmux=bool(os.environ.get("TMUX"))))
    return min(len(text), MAX_BYTES)


def ask_position(app: App[Any]) -> None:
    """Asks the terminal where its cursor is; the answer comes as ``CursorPosition`` once all is drawn."""
    if not app.is_headless:
        _write(app, "\x1b[6n")


def _write(app: App[Any], sequence: str) -> None:
    driver = app._driver
    if driver is not None:
        driver.write(sequence)
        driver.flush()
