"""How keys are struck: tempo, jitter, pauses to think, pasting. Deterministic but for the machine's own
timing.

A line is what the fingers do, not what the shell sees: ``\\x7f`` is a backspace, ``\\x15`` Ctrl-U, ``\\x03``
Ctrl-C, ``\\t`` Tab and the arrows are their escape sequences. ``Paste`` goes out in one piece.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tests.recording.clients import Screen

UP, DOWN, LEFT = "\x1b[A", "\x1b[B", "\x1b[D"
BACKSPACE, CTRL_C, CTRL_U, TAB = "\x7f", "\x03", "\x15", "\t"
_KEYS = re.compile(r"\x1b\[[A-D]|.", re.DOTALL)
_PROMPT = re.compile(rb"[#$:] (\x1b\[4h)?\Z")
ANSWER_TIMEOUT = 12.0
"""Seconds to wait for the prompt to come back before typing on regardless."""


@dataclass(frozen=True, slots=True)
class Hand:
    """Tempo of one person or program, in seconds: between keys, and between a prompt and the next line.

    A hand without a pause between keys is a program's: it sends each line in one piece.
    """

    key: float
    think: float
    jitter: float = 0.35

    def pause(self, rng: random.Random, around: float) -> float:
        """A pause near ``around``; ``jitter`` is the sigma of its logarithm."""
        return around * rng.lognormvariate(0.0, self.jitter) if around else 0.0


@dataclass(frozen=True, slots=True)
class Paste:
    """Text that arrives at once, newlines and all."""

    text: str


Line = str | Paste


async def type_lines(screen: Screen, lines: Iterable[Line], hand: Hand, rng: random.Random) -> None:
    """Work through ``lines``, each after the prompt is back and a pause to think."""
    await wait_for_prompt(screen, 0)
    for line in lines:
        if screen.gone():
            return
        await asyncio.sleep(hand.pause(rng, hand.think))
        before = len(screen.seen())
        await _strike(screen, line, hand, rng)
        await wait_for_prompt(screen, before)


async def _strike(screen: Screen, line: Line, hand: Hand, rng: random.Random) -> None:
    if isinstance(line, Paste):
        await screen.send(line.text.replace("\n", "\r").encode() + b"\r")
        return
    if not hand.key:
        await screen.send(line.encode() + b"\r")
        return
    for key in _KEYS.findall(line):
        await asyncio.sleep(hand.pause(rng, hand.key))
        await screen.send(key.encode())
    if not line.endswith(CTRL_C):
        await asyncio.sleep(hand.pause(rng, hand.key * 1.5))
        await screen.send(b"\r")


async def wait_for_prompt(screen: Screen, since: int) -> None:
    """Until the output after byte ``since`` ends like a prompt, the other side is gone, or ANSWER_TIMEOUT."""
    for _ in range(int(ANSWER_TIMEOUT / 0.05)):
        await asyncio.sleep(0.05)
        if screen.gone() or _PROMPT.search(screen.seen()[since:]):
            return
