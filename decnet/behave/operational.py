"""operational.*: objective, discipline, clearing up, a second hand within one session."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import sqrt

from decnet.behave import lexicon
from decnet.behave import thresholds as t
from decnet.behave.evidence import Evidence
from decnet.behave.keys import KeyFacts, Line
from decnet.behave.measures import Finding, sure

_GRAVEST = ("destructive", "exfil", "persistence", "lateral")
_FULL_SURE, _HALF_SURE = 0.85, 0.6


def operational(found: Evidence) -> Iterator[Finding]:
    """The operational primitives that this session gives."""
    if found.commands:
        yield from _objective(found)
    if len(found.commands) >= t.MIN_COMMANDS_CONDUCT:
        yield from _footprint(found)
    if found.keys is not None:
        yield from _hands(found.keys)


def _objective(found: Evidence) -> Iterator[Finding]:
    """The gravest purpose seen; recon when looking around is most of it; else it is not known."""
    phases = Counter(command.parsed.phase for command in found.commands)
    for purpose in _GRAVEST:
        if phases[purpose]:
            yield "operational.objective", purpose, sure(phases[purpose] + 1, 1)
            return
    working = len(found.commands) - sum(c.parsed.name in lexicon.LEAVING for c in found.commands)
    if phases["recon"] and phases["recon"] * 2 > working:
        yield "operational.objective", "recon", sure(phases["recon"], 2)


def _footprint(found: Evidence) -> Iterator[Finding]:
    texts = [command.parsed.text for command in found.commands]
    hidden = any(command.parsed.hides_history for command in found.commands)
    logs = any(command.parsed.logs for command in found.commands)
    made = {name for text in texts for name in lexicon.made(text)}
    removed = {name for text in texts for name in lexicon.removed(text)}
    left, cleared = made - removed, made & removed
    if hidden or logs or cleared:
        if (hidden or logs) and not left:
            yield "operational.opsec_discipline", "careful", _FULL_SURE
        thorough = not left and hidden
        yield "operational.cleanup_behavior", "thorough" if thorough else "partial", _FULL_SURE
    elif made or found.artifacts:
        yield "operational.cleanup_behavior", "none", _HALF_SURE
    if not (hidden or logs or cleared) and (left or len(texts) >= t.MIN_COMMANDS_CONTENT):
        yield "operational.opsec_discipline", "careless", _HALF_SURE


def _hands(keys: KeyFacts) -> Iterator[Finding]:
    """A sharp and lasting change of tempo within one session is a change of hands."""
    lines = [line for line in keys.lines if line.gaps]
    if sum(line.gaps for line in lines) < t.MIN_HANDOFF_GAPS or len(lines) < 2 * t.HANDOFF_LINES:
        return
    changed = _break_in_tempo(lines)
    label = "handoff_detected" if changed else "solo"
    yield "operational.multi_actor_indicators", label, 0.7 if changed else 0.6


def _break_in_tempo(lines: list[Line]) -> bool:
    """Whether some cut parts the lines into two clearly different tempi."""
    n = sum(line.gaps for line in lines)
    total, squares = sum(line.gap_logs for line in lines), sum(line.gap_squares for line in lines)
    m, part, part_squares = 0, 0.0, 0.0
    for place, line in enumerate(lines, start=1):
        m, part, part_squares = m + line.gaps, part + line.gap_logs, part_squares + line.gap_squares
        if not t.HANDOFF_LINES <= place <= len(lines) - t.HANDOFF_LINES:
            continue
        left, right = part / m, (total - part) / (n - m)
        spread = part_squares / m - left**2, (squares - part_squares) / (n - m) - right**2
        error = sqrt(max(spread[0], 0.01) / m + max(spread[1], 0.01) / (n - m))
        if abs(left - right) >= max(t.HANDOFF_OCTAVES, t.HANDOFF_T * error):
            return True
    return False
