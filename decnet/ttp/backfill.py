"""Back-fill: judges what is stored by the rules of today. Idempotent, a small transaction at a time.

Tags have derived ids, so what was tagged alike before stays as it is; a rule whose version was raised
leaves new tags, and the old ones of the same source are marked as superseded. Sessions, credentials,
fingerprints, identities, intel and aggregates come from the database; what only the stream keeps (mail,
canaries, first sights, reuse) is read back from the bus, when there is one, as far as it still goes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from decnet.bus import topics
from decnet.bus.base import BaseBus, Event
from decnet.config import Settings, load_settings
from decnet.db.rows.runtime import DueSpan
from decnet.errors import RuleStoreError
from decnet.logs import get_logger
from decnet.runtime.received import all_received
from decnet.runtime.worker import transaction
from decnet.ttp.aggregates import AT_ONCE, due_events
from decnet.ttp.floods import tells_floods
from decnet.ttp.lifter_registry import known_kinds
from decnet.ttp.loader import load_bytes
from decnet.ttp.rule_engine import RuleEngineTagger
from decnet.ttp.rules import CompiledRule, RuleState
from decnet.ttp.store.base import RuleListing
from decnet.ttp.store.factory import get_rule_store, reach_rule_store
from decnet.ttp.suppression import IgnoredSources
from decnet.ttp.worker import TtpWorker

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

_log = get_logger(__name__)
PAGE = 100
READ_BACK = 50_000
"""Events of one topic that are read back from the stream at most."""
STREAM_TOPICS = (
    topics.attacker(topics.ATTACKER_OBSERVED),
    topics.credential(topics.CREDENTIAL_REUSE_DETECTED),
    topics.email_topic(topics.EMAIL_RECEIVED),
    "canary.*.triggered",
)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: ``done`` of ``total`` rows, tags stored, and the kind in work."""

    kind: str
    done: int
    total: int
    tags: int


@dataclass(frozen=True, slots=True)
class BackfillReport:
    """What a run did."""

    judged: int
    tags: int
    superseded: int
    rules: int


OnProgress = Callable[[Progress], None]


async def run_backfill(
    since: datetime,
    until: datetime,
    rules: Collection[str] | None = None,
    *,
    repo: BaseRepository,
    settings: Settings | None = None,
    bus: BaseBus | None = None,
    progress: OnProgress | None = None,
) -> BackfillReport:
    """Judges stored events of a span of event time (aware) by the current rules, or by some of them.

    News of new tags goes to the outbox and out with the next engine. Raises RuleStoreError for an
    unknown rule id, BusUnavailable, DatabaseError.
    """
    settings = settings or load_settings()
    reached = await reach_rule_store(settings, repo)
    store = get_rule_store(settings, repo=repo, kind=reached.kind)
    chosen = _rules(await store.listing(running=reached.running), rules)
    worker = _worker(settings, chosen, await store.stored_states())
    worker.marks_sessions = not rules
    run = _Run(repo, worker, since, until, progress)
    await run.measure()
    for kind in repo.replay_kinds:
        await run.stored(kind)
    await run.aggregates()
    if bus is not None:
        for pattern in STREAM_TOPICS:
            await run.judge("stream", [e for e in await bus.read_back(pattern, READ_BACK) if run.covers(e)])
    superseded = sum(
        [
            await repo.supersede_tags(rule.rule_id, rule.rule_version, sorted(rule.applies_to))
            for rule in chosen
        ]
    )
    count = len(set(rules)) if rules else len(chosen)
    _log.info("back-fill done", judged=run.done, tags=run.tags, superseded=superseded, rules=count)
    return BackfillReport(run.done, run.tags, superseded, count)


def _rules(listing: Sequence[RuleListing], wanted: Collection[str] | None) -> list[CompiledRule]:
    """The rules that the engine has; without one those that the next would load."""
    compiled = [load_bytes(row.yaml.encode("utf-8", "replace"), row.file)[0] for row in listing if row.yaml]
    found = {rule.rule_id: rule for rule in compiled if rule is not None}
    if not found:  # judged by none, everything would count as judged
        raise RuleStoreError("no rules are loaded: see `decnet-tui rules check`")
    unknown = sorted(set(wanted or ()) - found.keys())
    if unknown:
        raise RuleStoreError(f"no rule {', '.join(unknown)}: see `decnet-tui rules list`")
    # What changes or takes away the tags of others goes along, else these would come out otherwise than live.
    along = (r.rule_id for r in found.values() if _adjusts(r) or tells_floods(r) or r.replaces)
    chosen = {*wanted, *along} if wanted else found.keys()
    return [rule for rule_id, rule in sorted(found.items()) if rule_id in chosen]


def _adjusts(rule: CompiledRule) -> bool:
    kind = known_kinds().get(rule.lifter or "")
    return kind is not None and kind.adjust is not None


def _worker(settings: Settings, rules: Sequence[CompiledRule], states: Mapping[str, RuleState]) -> TtpWorker:
    """A worker without store or bus, with these rules and states."""
    worker = TtpWorker(None, settings)
    for lifter in worker.tagger.lifters:
        if isinstance(lifter, RuleEngineTagger):
            lifter.engine.replace(rules, states)
    return worker


class _Run:
    """State of one run."""

    def __init__(
        self,
        repo: BaseRepository,
        worker: TtpWorker,
        since: datetime,
        until: datetime,
        tell: OnProgress | None,
    ) -> None:
        self.repo, self.worker, self.since, self.until, self._tell = repo, worker, since, until, tell
        self.done = self.total = 0

    @property
    def tags(self) -> int:
        """Tags stored so far."""
        return self.worker.inserted

    async def measure(self) -> None:
        """Counts what there is to do, for the progress bar."""
        for kind in self.repo.replay_kinds:
            self.total += await self.repo.replay_count(kind, self.since, self.until)

    def covers(self, event: Event) -> bool:
        """Whether an event of the stream lies in the span."""
        return self.since.timestamp() <= event.ts <= self.until.timestamp()

    async def stored(self, kind: str) -> None:
        """All rows of one kind."""
        async for events, rows in self._pages(kind):
            await self.judge(kind, events, rows)

    async def _pages(self, kind: str) -> AsyncIterator[tuple[list[Event], int]]:
        page = await self.repo.replay_page(kind, self.since, self.until, None, PAGE)
        while page.rows:
            yield page.events, page.rows
            if page.after is None:
                return
            page = await self.repo.replay_page(kind, self.since, self.until, page.after, PAGE)

    async def judge(self, kind: str, events: Sequence[Event], rows: int | None = None) -> None:
        """One page, in one transaction with the news of it."""
        if events:
            async with transaction(self.repo) as tx:
                await self.worker.handle_stored(all_received(events), tx)
        self._log_progress(kind, len(events) if rows is None else rows)

    async def aggregates(self) -> None:
        """What stored rows say together about the attackers of the span."""
        attackers = await self.repo.attackers_active(self.since, self.until)
        since, until = self.since.timestamp(), self.until.timestamp()
        for start in range(0, len(attackers), AT_ONCE):
            some = attackers[start : start + AT_ONCE]
            marks = [DueSpan(attacker_uuid=uuid, since=since, until=until) for uuid in some]
            events = await due_events(self.repo, marks)
            async with transaction(self.repo) as tx:
                hidden = IgnoredSources(await tx.repo.ignored_attackers(some))
                await self.worker.judge(dict.fromkeys(events, until), tx, hidden)
            self._log_progress("aggregates", 0)

    def _log_progress(self, kind: str, rows: int) -> None:
        self.done += rows
        self.total = max(self.total, self.done)
        if self._tell is not None:
            self._tell(Progress(kind, self.done, self.total, self.tags))
