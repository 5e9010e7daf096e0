"""What happened in a session, as it is kept: phases in order, plays and deeds, within bounds; pure.

Steps of one phase that follow each other are one :class:`Phase` at once, so that a session of a million lines takes
no more room than its changes of phase. What a command or a file amounts to is :mod:`decnet.ttp.acts`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from decnet.bounds import bit
from decnet.hostile import visible
from decnet.ttp.severity import Deed
from decnet.ttp.stages import phase_of

STORY_CAPPED = "story_capped"
"""The name in health of the bounds of a story: changes of phase, plays, deeds and names beyond them."""
MAX_PHASES = 512
MAX_PLAYS = 2048
MAX_DEEDS = 256
MAX_NAMES = 16
MAX_HOSTS = 64
MAX_BESIDE = 64
"""Characters of a play of what is no command."""
NAME_CHARS = 40


class Phase(msgspec.Struct):
    """Steps of one phase that follow each other; lines count from 1, 0 is before the first."""

    phase: str
    first: int
    to: int
    n: int = 0
    stages: dict[str, int] = {}
    what: list[str] = []
    via: list[str] = []
    techniques: list[str] = []


class Moves(msgspec.Struct):
    """What happened in a session."""

    phases: list[Phase] = []
    plays: list[str] = []
    """Of its commands, in order (:mod:`decnet.shell.playbook`)."""
    beside: list[str] = []
    """Plays of what is no command, each once."""
    deeds: list[Deed] = []
    asked: dict[str, int] = {}
    """Host → how often something was fetched from it."""


class Step(NamedTuple):
    """One thing done at a line."""

    stage: str
    line: int
    what: tuple[str, ...] = ()
    via: str = ""
    techniques: tuple[str, ...] = ()


def clean(name: str) -> str:
    """A name of the attacker's as it may be shown: printable, and not long."""
    return visible(name, NAME_CHARS)


class Writer:
    """Takes steps, plays and deeds in, within the bounds."""

    def __init__(self) -> None:
        self.moves = Moves()
        self._deeds: dict[Deed, None] = {}

    def step(self, step: Step) -> None:
        """One more step."""
        last = self._last(phase_of(step.stage), step.line)
        last.to, last.n = max(last.to, step.line), last.n + 1
        last.stages[step.stage] = last.stages.get(step.stage, 0) + 1
        _add(last.what, step.what)
        _add(last.via, (step.via,) if step.via else ())
        _add(last.techniques, step.techniques)

    def play(self, play: str) -> None:
        """One more play; one that repeats the last one says nothing new."""
        plays = self.moves.plays
        if plays and plays[-1] == play:
            return
        if len(plays) < MAX_PLAYS:
            plays.append(play)
        else:
            bit(STORY_CAPPED)

    def beside(self, play: str) -> None:
        """A play of what is no command."""
        if len(play) <= MAX_BESIDE:
            _add(self.moves.beside, (play,))

    def asked(self, host: str) -> None:
        """Something was fetched from a host."""
        asked = self.moves.asked
        if host in asked or len(asked) < MAX_HOSTS:
            asked[host] = asked.get(host, 0) + 1
        else:
            bit(STORY_CAPPED)

    def also(self, name: str, techniques: Iterable[str]) -> None:
        """Techniques of a step that was told before, in the last phase of a name."""
        for phase in reversed(self.moves.phases):
            if phase.phase == name:
                _add(phase.techniques, techniques)
                return

    def _last(self, name: str, line: int) -> Phase:
        """The phase that goes on, or a new one; at the bound the last of that name, out of its order."""
        phases = self.moves.phases
        if phases and phases[-1].phase == name:
            return phases[-1]
        if len(phases) >= MAX_PHASES:
            bit(STORY_CAPPED)
            known = next((phase for phase in reversed(phases) if phase.phase == name), None)
            if known is not None:
                return known
        phases.append(Phase(name, line, line))
        return phases[-1]

    def deed(self, kind: str, what: str = "", how: str = "") -> None:
        """One more deed."""
        deed = Deed(kind, what, how)
        if deed not in self._deeds and len(self._deeds) >= MAX_DEEDS:
            bit(STORY_CAPPED)
            return
        self._deeds[deed] = None

    def done(self) -> Moves:
        """All of it."""
        self.moves.deeds = list(self._deeds)
        return self.moves


def _add(known: list[str], more: Iterable[str]) -> None:
    for one in more:
        if one and one not in known:
            if len(known) < MAX_NAMES:
                known.append(one)
            else:
                bit(STORY_CAPPED)
