"""What was matched and not told: below the floor, switched off, or about an ignored source.

The counts go out once a window, not one by one: a rule that is switched off may match every line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from decnet.bus import topics
from decnet.bus.base import BaseBus
from decnet.bus.publish import publish_safely
from decnet.events.record import FromAttacker
from decnet.events.ttp import RuleSuppressed
from decnet.runtime.received import Received
from decnet.ttp.base import TTPTag
from decnet.ttp.rule_engine import RuleEngine

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.repository.ignored import IgnoreSet

IGNORED = "ignored_source"
_TOPIC = topics.ttp(topics.TTP_RULE_SUPPRESSED)


class SuppressionNews:
    """Tells every ``window_s`` seconds how often each rule was suppressed, and why."""

    def __init__(self, engines: Iterable[RuleEngine], window_s: float) -> None:
        self.engines = tuple(engines)
        self.window_s = window_s
        self.ignored: Counter[tuple[str, str]] = Counter()
        self._told: Counter[tuple[str, str]] = Counter()

    def shown(self, tags: Iterable[TTPTag], sources: IgnoredSources) -> list[TTPTag]:
        """The tags that may be told of; the others are counted."""
        out = []
        for tag in tags:
            if sources.covers(tag):
                self.ignored[tag.rule_id, IGNORED] += 1
            else:
                out.append(tag)
        return out

    async def publish(self, _repo: BaseRepository, bus: BaseBus) -> None:
        """Publishes what came since the last window; news that may be lost, so nothing waits for the bus."""
        total = sum((engine.suppressed for engine in self.engines), Counter(self.ignored))
        since = total - self._told
        self._told = total
        for (rule_id, reason), count in sorted(since.items()):
            told = RuleSuppressed(rule_id=rule_id, reason=reason, count=count, window_s=self.window_s)
            await publish_safely(bus, _TOPIC, told.build(), "suppressed")


class IgnoredSources:
    """Attackers and sessions that are not to be told of. A session's own mark counts for its tags."""

    def __init__(self, attackers: Iterable[str] = (), sessions: Iterable[str] = ()) -> None:
        self.attackers = frozenset(attackers)
        self.sessions = frozenset(sessions)

    @classmethod
    def of_batch(cls, batch: Sequence[Received], rules: IgnoreSet) -> IgnoredSources:
        """What the entries in force say about the events of a batch."""
        attackers: set[str] = set()
        sessions: set[str] = set()
        for one in batch if rules else ():
            record = one.record
            if not isinstance(record, FromAttacker):
                continue
            if record.attacker and rules.by_address(record.attacker_ip):
                attackers.add(record.attacker)
            if rules.by_payload(one.said()):
                sessions.add(str(getattr(record, "session_id", None)))
        return cls(attackers, sessions)

    def covers(self, tag: TTPTag) -> bool:
        """Whether a tag is about one of them."""
        return self.covers_session(tag.attacker_uuid, tag.session_id)

    def covers_session(self, attacker: str | None, session: str | None) -> bool:
        """Whether it is one of them."""
        return attacker in self.attackers or session in self.sessions
