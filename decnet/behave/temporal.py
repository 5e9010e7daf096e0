"""temporal.* and cultural.* of one session: its length, its pace over time, its beginning and end."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from decnet.behave import lexicon
from decnet.behave import thresholds as t
from decnet.behave.evidence import Evidence
from decnet.behave.measures import Finding, grade, sure, variation


def temporal(found: Evidence) -> Iterator[Finding]:
    """The temporal primitives that this session gives."""
    if found.end_reason != "eof":  # the log stopped, not the session
        label = grade(found.duration_s, t.DURATION_BOUNDS, ("short", "medium", "long", "marathon"))
        yield "temporal.session_duration", label, 0.95
        yield from _exit(found)
    gaps = found.gaps
    if len(found.commands) > t.MIN_COMMANDS_CONTENT:
        yield "temporal.escalation_pattern", _escalation(gaps), sure(len(gaps), 8)
    if len(found.commands) >= t.LANDING_MIN:
        yield from _landing(found)
    yield from _idle(gaps)


def _escalation(gaps: list[float]) -> str:
    if variation(gaps) <= t.SUSTAINED_CV:
        return "sustained"
    ordered = sorted(gaps, reverse=True)
    lulls = ordered[: max(int(len(gaps) * t.BURSTY_MAX_LULLS), 1)]
    return "bursty" if sum(lulls) >= t.BURSTY_LULL_SHARE * sum(gaps) else "erratic"


def _landing(found: Evidence) -> Iterator[Finding]:
    first = found.commands[: t.LANDING_WINDOW]
    seen = {name for command in first for name in command.parsed.names if name in lexicon.LANDING}
    label = "present" if len(seen) >= t.LANDING_MIN else "absent"
    yield "temporal.lifecycle_markers.landing_ritual", label, sure(len(first), 2)


def _exit(found: Evidence) -> Iterator[Finding]:
    """How it ended; an exec channel ends by itself and says nothing, unless it cleared up."""
    if len(found.commands) < t.MIN_COMMANDS_CONDUCT:
        return
    last = found.commands[-t.CLEANUP_WINDOW :]
    left = found.commands[-1].parsed.name in lexicon.LEAVING or (
        found.keys is not None and found.keys.end_of_input
    )
    if any(command.parsed.phase == "cleanup" for command in last):
        yield "temporal.lifecycle_markers.exit_behavior", "cleanup", 0.85
    elif left:
        yield "temporal.lifecycle_markers.exit_behavior", "graceful", 0.9
    elif found.has_terminal or found.protocol == "telnet":
        yield "temporal.lifecycle_markers.exit_behavior", "abrupt", 0.7


def _idle(gaps: list[float]) -> Iterator[Finding]:
    idle = [gap for gap in gaps if gap > t.IDLE_GAP_S]
    if len(idle) >= t.MIN_IDLE_GAPS:
        label = "periodic" if variation(idle) <= t.IDLE_PERIODIC_CV else "random"
        yield "temporal.lifecycle_markers.idle_periodicity", label, sure(len(idle), 6)
    short, long = t.MICRO_PAUSE_S
    micro = [gap for gap in gaps if short <= gap <= long]
    if len(micro) >= t.MIN_MICRO_PAUSES:
        between = _distances(gaps, short, long)
        regular = variation(between) <= t.MICRO_PAUSE_CV
        label = "regular_intervals_detected" if regular else "none_detected"
        yield "cultural.periodic_micro_pauses", label, sure(len(micro), 10, 0.8)


def _distances(gaps: list[float], short: float, long: float) -> list[float]:
    """Seconds from the start of one micro-pause to the start of the next."""
    now, starts = 0.0, []
    for gap in gaps:
        if short <= gap <= long:
            starts.append(now)
        now += gap
    return [after - before for before, after in pairwise(starts)]
