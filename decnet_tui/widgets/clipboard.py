"""The one place that touches Textual's private parts: writing to the terminal, OSC 52 (capped), questions, the mouse.

Textual's own ``copy_to_clipboard`` has no cap and does not reach through tmux.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from decnet.hostile import visible
from decnet.logs import get_logger

if TYPE_CHECKING:
    from textual.app import App

MAX_BYTES = 65_536
"""Bytes copied at most; terminals drop or choke on more."""
TMUX_S = 2.0
"""Seconds that tmux may take."""
log = get_logger(__name__)


class Copied(NamedTuple):
    """What became of a copy: in words, and what is still to be done beside the keys."""

    says: str
    tmux: Callable[[], None] | None


def safe_text(text: str) -> bytes:
    """What is copied of a text: each line made visible, the whole capped."""
    return "\n".join(visible(line) for line in text[:MAX_BYTES].split("\n")).encode()[:MAX_BYTES]


def osc52(text: str, *, tmux: bool) -> str:
    """The escape sequence that copies ``text``, each line made visible first."""
    sequence = f"\x1b]52;c;{base64.b64encode(safe_text(text)).decode()}\a"
    return f"\x1bPtmux;{sequence.replace(chr(27), chr(27) * 2)}\x1b\\" if tmux else sequence


def copy(app: App[Any], text: str) -> Copied:
    """Sends ``text`` to the terminal's clipboard.

    A tmux of its usual settings lets no program reach the terminal's: its own buffer is filled as well.
    """
    tmux = shutil.which("tmux") if os.environ.get("TMUX") else None
    _write(app, osc52(text, tmux=bool(os.environ.get("TMUX"))))
    taken = min(len(text), MAX_BYTES)
    if tmux is None:
        return Copied(f"copied {taken} characters (if the terminal allows OSC 52)", None)
    return Copied(
        f"copied {taken} characters, also into tmux's buffer", partial(_to_tmux, tmux, safe_text(text))
    )


def _to_tmux(program: str, data: bytes) -> None:
    """Fills tmux's newest buffer, and the clipboard of its terminal where it may."""
    try:
        subprocess.run(  # noqa: S603 - tmux itself, the text goes by its input
            [program, "load-buffer", "-w", "-"], input=data, timeout=TMUX_S, check=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("tmux took no copy", error=str(error))


def ask_position(app: App[Any]) -> None:
    """Asks the terminal where its cursor is; the answer comes as ``CursorPosition`` once all is drawn."""
    if not app.is_headless:
        _write(app, "\x1b[6n")


def use_mouse(app: App[Any], wanted: bool) -> None:
    """Has the terminal tell of the mouse, or leaves the mouse to the terminal: dragging selects text then."""
    driver = app._driver
    if driver is not None and not app.is_headless:
        (driver._enable_mouse_support if wanted else driver._disable_mouse_support)()  # type: ignore[attr-defined]


def _write(app: App[Any], sequence: str) -> None:
    driver = app._driver
    if driver is not None:
        driver.write(sequence)
        driver.flush()
