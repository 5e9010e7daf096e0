"""Figures beside their budgets, and how long a key takes to the screen."""

from __future__ import annotations

import os
import re
import sys
import time

from tests.ptykit import Terminal


class Table:
    """Figures beside their budgets."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, float, str]] = []

    def add(self, name: str, value: float, budget: float, unit: str) -> None:
        """One figure; a value over its budget fails the test at its end."""
        self.rows.append((name, value, budget, f"{unit:<5} load {os.getloadavg()[0]:.1f}"))

    def late(self, since: int = 0) -> list[str]:
        """Names of figures over their budget."""
        return [f"{name}: {value:.1f}" for name, value, budget, _ in self.rows[since:] if value > budget]

    def report(self, title: str) -> None:
        """Writes the table."""
        sys.stdout.write(f"\n\n{title}\n")
        for name, value, budget, unit in self.rows:
            verdict = "" if value <= budget else "  OVER"
            sys.stdout.write(f"  {name:<46} {value:>9.1f}  budget {budget:<7g} {unit}{verdict}\n")


def key_to_screen(screen: Terminal, presses: int) -> list[float]:
    """Milliseconds from a key to the frame that shows what it does, in ascending order."""
    taken = []
    for i in range(presses):
        wanted = b"6*Health" if i % 2 == 0 else b"1*Traffic"
        screen.read(0.15)
        taken.append(until_seen(screen, "6" if i % 2 == 0 else "1", wanted))
    return sorted(taken)


def until_seen(screen: Terminal, key: str, wanted: bytes) -> float:
    """Milliseconds from a key to these bytes; nothing is drawn meanwhile."""
    screen.blind = True
    started, seen = time.monotonic(), bytearray()
    screen.child.send(key)
    while wanted not in plain(seen):
        seen += screen.read_some(0.01)
        assert time.monotonic() - started < 20, screen.text
    taken = 1000 * (time.monotonic() - started)
    screen.blind = False
    screen.look()
    return taken


def plain(data: bytes | bytearray) -> bytes:
    """Without the escape sequences between the letters."""
    return re.sub(rb"\x1b\[[\d;?]*[A-Za-z]", b"", data)


def p95(values: list[float]) -> float:
    """The 95th percentile of sorted values."""
    return values[min(int(len(values) * 0.95), len(values) - 1)]
