"""What a session amounts to: its phases in order, one line of 80 columns, severity with a reason, playbook; pure.

The phases are those of :mod:`decnet.ttp.stages`; groups of them that follow themselves over and over are told once,
with how often (``times``, and the same ``cycle`` number on each phase of the group).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from decnet.hostile import visible
from decnet.shell.playbook import groups, playbook_id
from decnet.ttp.moves import MAX_NAMES, Moves, Phase
from decnet.ttp.severity import Deed, judged
from decnet.ttp.stages import DELIVER, in_order

LINE_CHARS = 80
MAX_TOLD = 64
"""Phases of a story; a longer one is told without its repetitions."""
FLOOD = 1000
"""So many things fetched from one host are no longer files that came, but an attack on it."""
_BETWEEN, _WITHIN, _TIMES = " \u203a ", "\u203a", "\u00d7"
_NAMES = 3
_LISTS = ("what", "via", "techniques")


class Story(NamedTuple):
    """What a session amounts to; ``phases`` are JSON objects with ``phase from to n stages what via techniques``."""

    phases: list[dict[str, Any]]
    line: str
    severity: str
    reason: str
    playbook: str | None


class _Group(NamedTuple):
    """Phases that follow themselves so many times."""

    phases: list[Phase]
    times: int


def story_of(moves: Moves) -> Story:
    """The story of a session."""
    phases = [p for i, p in enumerate(moves.phases) if p.phase != "leave" or i == len(moves.phases) - 1]
    told = _folded(_adjacent(phases), _stages)
    if sum(len(group.phases) for group in told) > MAX_TOLD:
        told = _firsts(told)
    floods = [Deed("attacked", host, "") for host, times in moves.asked.items() if times >= FLOOD]
    severity, reason = judged([*floods, *moves.deeds])
    plays = [*sorted(moves.beside), *moves.plays]
    return Story(list(_json(told)), _line(told), severity, reason, playbook_id(plays))


def _adjacent(phases: Sequence[Phase]) -> list[Phase]:
    """The phases with those of one name that follow each other made one."""
    out: list[Phase] = []
    for phase in phases:
        if out and out[-1].phase == phase.phase:
            out[-1] = _one([out[-1], phase])
        else:
            out.append(phase)
    return out


def _one(phases: Sequence[Phase]) -> Phase:
    """Several phases of one name as one."""
    stages: Counter[str] = Counter()
    for phase in phases:
        stages.update(phase.stages)
    what, via, techniques = (_union(getattr(phase, name) for phase in phases) for name in _LISTS)
    first, last = min(phase.first for phase in phases), max(phase.to for phase in phases)
    n = sum(phase.n for phase in phases)
    return Phase(phases[0].phase, first, last, n, dict(stages), what, via, techniques)


def _union(several: Iterable[list[str]]) -> list[str]:
    return list(dict.fromkeys(chain.from_iterable(several)))[:MAX_NAMES]


def _folded(phases: Sequence[Phase], key: Callable[[Phase], str]) -> list[_Group]:
    """Groups of phases that are alike by ``key``."""
    out = []
    for first, length, times in groups([key(phase) for phase in phases]):
        if times == 1:
            out.append(_Group(list(phases[first : first + length]), 1))
            continue
        one = [_one(phases[first + i : first + length * times : length]) for i in range(length)]
        out.append(_Group(one, times))
    return out


def _stages(phase: Phase) -> str:
    return f"{phase.phase} {' '.join(sorted(phase.stages))}"


def _name(phase: Phase) -> str:
    return phase.phase


def _firsts(told: Sequence[_Group]) -> list[_Group]:
    """Each phase once, at its first place."""
    by_name: dict[str, list[Phase]] = {}
    for group in told:
        for phase in group.phases:
            by_name.setdefault(phase.phase, []).append(phase)
    return [_Group([_one(phases)], 1) for phases in by_name.values()]


def _json(told: Sequence[_Group]) -> Iterator[dict[str, Any]]:
    cycle = 0
    for group in told:
        cycle += group.times > 1
        for phase in group.phases:
            stages = {stage: phase.stages[stage] for stage in in_order(phase.stages)}
            said = {
                "phase": phase.phase, "from": phase.first, "to": phase.to, "n": phase.n, "stages": stages,
                "what": phase.what, "via": phase.via, "techniques": phase.techniques,
            }  # fmt: skip
            yield said | ({"times": group.times, "cycle": cycle} if group.times > 1 else {})


# --- the line


def _line(told: Sequence[_Group]) -> str:
    """The fullest telling that fits."""
    out = ""
    for shorter in (_same, _looking_once, _firsts):
        groups_told = shorter(told)
        for names in (_NAMES, 1, 0):
            out = _BETWEEN.join(_group(group, names) for group in groups_told)
            if len(out) <= LINE_CHARS:
                return out
    return visible(out, LINE_CHARS)


def _same(told: Sequence[_Group]) -> Sequence[_Group]:
    return told


def _looking_once(told: Sequence[_Group]) -> Sequence[_Group]:
    """Whatever was looked at between other things, where the first look was."""
    phases = [phase for group in told for phase in group.phases]
    looks = [phase for phase in phases if phase.phase == "recon"]
    if len(looks) < 2:
        return told
    others = [_one(looks) if phase is looks[0] else phase for phase in phases if phase not in looks[1:]]
    return _folded(_adjacent(others), _name)


def _group(group: _Group, names: int) -> str:
    if group.times == 1:
        return _BETWEEN.join(_phase(phase, names) for phase in group.phases)
    inside = _WITHIN.join(_phase(phase, 0, group.times) for phase in group.phases)
    return " ".join(filter(None, (f"({inside}){_TIMES}{group.times}", _named(group.phases, names))))


def _phase(phase: Phase, names: int, times: int = 1) -> str:
    """One phase; of a group how often it comes each time."""
    if phase.phase != DELIVER:
        n = phase.n // times
        return f"{phase.phase} {n}" if n > 1 else phase.phase
    return " ".join(filter(None, ("+".join(in_order(phase.stages)), _named([phase], names))))


def _named(phases: Sequence[Phase], names: int) -> str:
    what = list(dict.fromkeys(name for p in phases if p.phase == DELIVER for name in p.what))
    return ",".join(what[:names])
