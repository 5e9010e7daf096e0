"""What is printed when the console fails: a traceback quotes attacker text, in its message and in its locals."""

from __future__ import annotations

import io
import sys

from rich.console import Console

from decnet.hostile import visible


class _Shown(io.TextIOBase):
    """Standard error, line by line visible; without colours, since nothing here may be an escape sequence."""

    def write(self, text: str) -> int:
        """Writes it; how many characters were taken."""
        sys.stderr.write("\n".join(visible(line) for line in text.split("\n")))
        return len(text)

    def flush(self) -> None:
        """Standard error's."""
        sys.stderr.flush()


def error_console() -> Console:
    """For the framework, which prints through it what ended the program, after the screen was given back."""
    return Console(file=_Shown(), markup=False, highlight=False, no_color=True, force_terminal=False)  # type: ignore[arg-type]
