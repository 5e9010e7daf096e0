"""One session in, observations out; pure, and the only place where observations are built.

Every observation is checked against PRIMITIVE_REGISTRY by ``behave_shell``. What cannot be measured
is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from behave_shell.spec import Observation, Window

from decnet.behave import EXTRACTOR_VERSION, SOURCE
from decnet.behave import thresholds as t
from decnet.behave.cognitive import cognitive
from decnet.behave.evidence import Evidence, evidence_of
from decnet.behave.features import session_features
from decnet.behave.measures import Finding
from decnet.behave.motor import motor
from decnet.behave.operational import operational
from decnet.behave.surroundings import emotional, environmental, toolchain
from decnet.behave.temporal import temporal
from decnet.events.session import SessionEnded
from decnet.ids import event_id, identity_id

_FINALITY = {"closed": 2, "idle": 1}
_SUBJECTS = (motor, cognitive, temporal, operational, environmental, emotional, toolchain)


@dataclass(slots=True)
class Extraction:
    """What one session gave."""

    session_id: str
    attacker_uuid: str
    rank: str
    started_at: float
    ended_at: float
    observations: list[Observation]
    features: dict[str, dict[str, object] | None]
    hours: dict[str, int] = field(default_factory=dict)
    """Activity by hour of the week: ``dow*24+hour`` in UTC, Monday first."""
    keystroke_events: int = 0
    capped: bool = False
    """A bound bit: more commands or keys than are read, or a torn recording."""
    foreign_recording: bool = False


def rank_of(ending: str) -> str:
    """Sorts extractions of one session: extractor version, then the ending."""
    return f"{EXTRACTOR_VERSION:06d}|{ending}"


def ending_of(session: SessionEnded, parts: int) -> str:
    """Sorts the endings of one session: when, how finally, with how many commands and parts."""
    count = session.command_count or 0
    number = count if count < 10**9 else 0
    finality = _FINALITY.get(str(session.end_reason), 0)
    return f"{float(session.ended_at):020.6f}|{finality}|{number:09d}|{parts:06d}"


def evidence_ref(session_id: str, ended_at: float) -> str:
    """The pointer of a session's observations: session, extractor version, ending."""
    return f"session:{session_id}#behave-{EXTRACTOR_VERSION}@{int(ended_at * 1000)}"


def extract(
    session: SessionEnded,
    recording: bytes | None = None,
    *,
    key: bytes = b"",
    parts: int = 1,
    breathe: Callable[[], None] | None = None,
) -> Extraction:
    """Observations and features of one whole session.

    ``recording`` is its terminal recording, ``key`` makes the hashes in the features keyed;
    ``breathe`` is called now and then, so that a thread can let others go on.
    """
    found = evidence_of(session, recording, breathe)
    findings = []
    for subject in _SUBJECTS:
        if breathe is not None:
            breathe()
        findings += list(subject(found))
    return Extraction(
        session_id=found.session_id,
        attacker_uuid=found.attacker_uuid,
        rank=rank_of(ending_of(session, parts)),
        started_at=found.started_at,
        ended_at=found.ended_at,
        observations=list(_observations(found, findings)),
        features=session_features(found, findings, key),
        hours=_hours(found),
        keystroke_events=found.keys.events if found.keys else 0,
        capped=found.command_count > t.MAX_COMMANDS or _cut(found),
        foreign_recording=found.foreign_recording,
    )


def _observations(found: Evidence, findings: Iterable[Finding]) -> Iterator[Observation]:
    ref = evidence_ref(found.session_id, found.ended_at)
    window = Window(start_ts=found.started_at, end_ts=found.ended_at)
    for primitive, value, confidence in findings:
        yield observation(
            primitive, value, confidence, ref=ref, window=window, attacker_uuid=found.attacker_uuid
        )


def observation(
    primitive: str, value: object, confidence: float, *, ref: str, window: Window, attacker_uuid: str
) -> Observation:
    """One registry-checked observation; its time is the end of its window, its id is derived."""
    return Observation(
        primitive=primitive,
        value=value,
        confidence=confidence,
        window=window,
        source=SOURCE,
        evidence_ref=ref,
        identity_ref=identity_id(attacker_uuid),
        ts=window.end_ts,
        id=event_id("behave", f"{ref}|{primitive}"),
    )


def _cut(found: Evidence) -> bool:
    """Whether the recording was longer than what is read of it, or torn."""
    keys = found.keys
    return keys is not None and (keys.capped or keys.state.capped or keys.state.truncated)


def _hours(found: Evidence) -> dict[str, int]:
    """A session without commands is one activity, at its start."""
    hours: dict[str, int] = {}
    for ts in [command.ts for command in found.commands] or [found.started_at]:
        # 1 January 1970 was a Thursday.
        hour = str((int(ts // 3600) + 72) % 168)
        hours[hour] = hours.get(hour, 0) + 1
    return hours
