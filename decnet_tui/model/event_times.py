"""When what events tell of was. Knows no terminal.

Of a log that is read later that is far from when they were told; its sessions, and what is said about them, stand
among others of their time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from decnet.events.fields import epoch
from decnet_tui.model.event_text import dicts
from decnet_tui.model.running import OWN, RunningSessions, session_name

KNOWN_TIMES = 20_000
"""Attackers of whom the newest time is remembered."""
_AFTER = ("ttp.tagged", "ttp.rule.fired.", "ttp.session.judged", "attribution.profile.state_changed")
"""What follows from it: told when a worker came to it, and about what was just seen."""


class EventTimes:
    """The newest time of what each session and attacker did."""

    def __init__(self, running: RunningSessions) -> None:
        self._running = running
        self._newest: dict[str, float] = {}

    def of(self, topic: str, payload: Mapping[str, Any], ts: float) -> float:
        """When what an event tells of was (epoch seconds); ``ts`` when nothing better is known."""
        if topic.startswith(_AFTER):
            return self._about(payload, ts)
        moment = happened_at(topic, payload, ts)
        if topic.startswith(OWN):
            self.note(payload.get("attacker_uuid"), moment)
        return moment

    def note(self, attacker: object, moment: float) -> None:
        """Somebody did something then (epoch seconds); also what is stored of before we came."""
        if not isinstance(attacker, str) or not math.isfinite(moment):
            return
        self._newest[attacker] = max(moment, self._newest.pop(attacker, moment))
        if len(self._newest) > KNOWN_TIMES:
            del self._newest[next(iter(self._newest))]

    def _about(self, payload: Mapping[str, Any], ts: float) -> float:
        """The newest time of the session, else of the attackers, that something is about."""
        session = self._running.told.get(session_name(payload))
        if session is not None and session.last is not None:
            return session.last
        several = payload.get("attacker_uuids")
        named = [payload.get("attacker_uuid"), *(several if isinstance(several, list) else [])]
        known = (self._newest.get(one) for one in named if isinstance(one, str))
        return max((moment for moment in known if moment is not None), default=ts)


def happened_at(topic: str, payload: Mapping[str, Any], ts: float) -> float:
    """When what somebody did was: news of a running session say it of each thing, and ``ts`` only when they were told."""
    if topic != "attacker.session.progress":
        return ts
    told = (epoch(one.get("ts")) for name in ("commands", "facts") for one in dicts(payload.get(name)))
    return min(max((moment for moment in told if moment is not None), default=ts), ts)
