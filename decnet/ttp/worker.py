"""The ttp worker: events in, tags stored, news of the tags really inserted out."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from decnet.bounds import bit, bitten
from decnet.bus import topics
from decnet.bus.base import BaseBus, Event
from decnet.config import Settings, load_settings
from decnet.events.session import SessionEnded
from decnet.events.ttp import Fired, Tagged
from decnet.ids import event_id
from decnet.logs import get_logger
from decnet.runtime.naming import under_stored_names
from decnet.runtime.received import Received, all_received
from decnet.runtime.worker import Job, Transaction, Worker, transaction
from decnet.telemetry import batch_span
from decnet.ttp.aggregates import AT_ONCE, ATTEMPTS_UNCOUNTED, due_events, grown
from decnet.ttp.base import Tagger, TaggerEvent, TTPTag
from decnet.ttp.context import SCRIPT_CAPPED
from decnet.ttp.events import tagger_events
from decnet.ttp.evidence import EVIDENCE_CUT
from decnet.ttp.factory import CompositeTagger, get_tagger
from decnet.ttp.facts import FACTS_CAPPED
from decnet.ttp.floods import Flood, floods_of, told_once
from decnet.ttp.judging import is_login, judge_session, sessions_told_before
from decnet.ttp.moves import STORY_CAPPED
from decnet.ttp.parts import PARTS_APART, Together, all_known, forget_parts, together
from decnet.ttp.rule_engine import Collected, RuleEngineTagger
from decnet.ttp.seen import Judged, moment_of, stamp
from decnet.ttp.settling import InForce, Judgement, settle
from decnet.ttp.store.base import RuleStore
from decnet.ttp.suppression import IgnoredSources, SuppressionNews
from decnet.ttp.sweep import UntaggedSweep
from decnet.ttp.windows_engine import WindowEngine

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

_log = get_logger(__name__)

_TOPICS: tuple[str, ...] = (
    "attacker.session.ended",
    "attacker.observed",
    "attacker.intel.enriched",
    "identity.formed",
    "identity.merged",
    "credential.reuse.detected",
    "email.received",
    "canary.>",
    "attacker.fingerprinted",
    "credential.captured",
)
"""What the worker reads; no topic that it publishes matches one of them."""

_ENRICHED = "attacker.intel.enriched"
_MAX_UUIDS = 500
NEWS_CUT = "news_cut"
"""The name in health of news that named fewer tags than there were."""
_Key = tuple[str | None, str | None, str | None]


class TtpWorker(Worker):
    """Tags batches by one snapshot of rules; without any it waits: judged now, an event would pass untagged for good."""

    name = "ttp"
    topics = _TOPICS
    keeps = ("identity.formed", "credential.reuse.detected", "email.received", "canary.>")
    without_bus = "poll-only"

    def __init__(
        self,
        store: RuleStore | None = None,
        settings: Settings | None = None,
        tagger: Tagger | None = None,
    ) -> None:
        """``tagger`` is any tagger of the contract; one that is no composite stands alone in one."""
        self.settings = settings or load_settings()
        self.store = store
        given = tagger or get_tagger(self.settings, store)
        self.tagger_name = given.name
        self.tagger = given if isinstance(given, CompositeTagger) else CompositeTagger([given])
        self.windows = [
            WindowEngine(engine.engine, retention_s=self.settings.ttp.window_retention_s)
            for engine in self._engines()
        ][:1]
        self.suppression = SuppressionNews(
            {engine.engine for engine in self._engines()}, self.settings.ttp.suppressed_window_s
        )
        self.jobs = (
            *(Job("windows", 3600.0, w.purge, lease="ttp-windows") for w in self.windows),
            Job(
                "aggregates",
                self.settings.ttp.aggregate_interval_s,
                self._aggregate,
                "ttp-aggregates",
                True,
                lambda repo: repo.due_take(self.name, 1),
            ),
            Job("parts", 3600.0, forget_parts, "ttp-parts"),
            Job("suppressed", self.settings.ttp.suppressed_window_s, self.suppression.publish),
        )
        self.inserted = 0
        self.fired: Counter[str] = Counter()
        """Tags really stored, by rule."""
        self.told_once = 0
        self.replaced_later = 0
        self.marks_sessions = True
        """Whether what was judged counts as tagged; not so where only some of the rules judge."""
        self.sweep = UntaggedSweep(
            self.handle_stored, self.settings.runtime.poll_interval_s, self.waiting_for
        )

    async def start(self, repo: BaseRepository, bus: BaseBus) -> None:
        """Loads the rules before the first batch."""
        if self.store is not None and self.store.bus is None:
            self.store.bus = bus
        if self.store is not None:
            await self.store.hold()
        for engine in self._engines():
            await engine.load()
        self.sweep.attach(repo, bus)
        _log.info(
            f"ttp worker started tagger={self.tagger_name} "
            f"poll_interval_secs={self.settings.runtime.poll_interval_s} topics={len(_TOPICS)}"
        )

    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        """Tags a batch, stores the tags, tells of those that are new, and marks the sessions.

        Without rules it takes nothing: all of it comes again.
        """
        if self.waiting_for():
            for one in batch:
                tx.defer(one.event)
            return
        with batch_span("ttp.worker.batch", (one.event.headers for one in batch), events=len(batch)):
            named = await under_stored_names(batch, tx.repo)
            await self._handle(await together(named, tx.repo, self.settings.ttp.window_retention_s), tx)

    async def handle_stored(self, batch: Sequence[Received], tx: Transaction) -> None:
        """As :meth:`handle`, for sessions that the database holds: of those everything is known."""
        if self.waiting_for():
            return
        with batch_span("ttp.worker.batch", (), events=len(batch)):
            await self._handle(all_known(batch), tx)

    async def _handle(self, known_so_far: Together, tx: Transaction) -> None:
        batch = known_so_far.batch
        ended = [one.record for one in batch if isinstance(one.record, SessionEnded)]
        known = [*batch, *await _stored_intel(ended, tx.repo)] if ended else batch
        found = await asyncio.to_thread(_judgeable, known)
        floods = floods_of(ended)
        times = {tagged: event.ts for tagged, event in found} | {
            f.event: f.event.payload["ts"] for f in floods
        }
        moments = ((tagged, moment_of(event)) for tagged, event in found)
        judged = [*moments, *((f.event, f.event.payload["ts"]) for f in floods)]
        sources = IgnoredSources.of_batch(batch, await tx.repo.ignore_set())
        told = ended if self.marks_sessions else ()
        await self.judge(
            times, tx, sources, judged=judged, floods=floods, whole=known_so_far.whole, ended=told
        )
        done = {session.session_id for session in ended} - known_so_far.lacking
        if done and self.marks_sessions:
            await tx.repo.mark_sessions_tagged(sorted(done), datetime.now(UTC))

    async def judge(
        self,
        times: Mapping[TaggerEvent, float],
        tx: Transaction,
        sources: IgnoredSources | None = None,
        *,
        renew: bool = False,
        judged: Iterable[Judged] | None = None,
        floods: Sequence[Flood] = (),
        whole: frozenset[str] = frozenset(),
        ended: Sequence[SessionEnded] = (),
    ) -> int:
        """Tags events (with the event time of each), stores and tells what is new; how many tags were.

        ``renew`` is for events that are computed again when more is known: the last look's evidence stays,
        whenever the looks before it were. ``judged`` says when each happened, where that is not the event time.
        ``floods`` are those among the events that stand for many others, ``whole`` the sessions of which everything
        is known: what is said of them stands, and what was said before no more. ``ended`` are the sessions whose
        story is to be told.
        """
        collected = Collected(times)
        tags = await self.tagger.tag_batch(list(times), collected, tx.repo)
        await judge_session(ended, times, tags, tx, sources, self._over_many())
        stamp(tags, times.items() if judged is None else judged)
        if floods:
            tags = await self._told_once(tags, floods, tx.repo)
        for windows in self.windows:
            tags += await windows.apply(tx.repo, collected.hits)
        await self._settle(Judgement.of(tags, collected.better, whole, times), tx.repo)
        fresh = set(await tx.repo.insert_tags(tags)) if tags else set()
        self.inserted += len(fresh)
        self.fired.update(tag.rule_id for tag in tags if tag.uuid in fresh)
        old = [tag for tag in tags if tag.uuid not in fresh]
        seen = {tag.uuid: tag.seen_at for tag in old if tag.seen_at is not None}
        if renew:
            await _renew({tag.uuid: tag.evidence or {} for tag in old}, tx.repo)
            await tx.repo.renew_seen(seen)
        else:
            counted = {flood.event.source_id for flood in floods}
            await _renew({tag.uuid: tag.evidence or {} for tag in old if tag.source_id in counted}, tx.repo)
            await tx.repo.seen_earlier(seen)
        new = {tag.uuid: tag for tag in tags if tag.uuid in fresh}
        await self._tell_again(new.values(), ended, tx.repo)
        await _publish(self.suppression.shown(new.values(), sources or IgnoredSources()), tx)
        return len(fresh)

    async def _tell_again(
        self, new: Iterable[TTPTag], ended: Sequence[SessionEnded], repo: BaseRepository
    ) -> None:
        """A credential that comes after its session was judged is part of its story too."""
        now = {session.session_id for session in ended}
        late = [tag for tag in new if tag.session_id not in now and is_login(tag)]
        if late and (told := await sessions_told_before(late, repo)):
            await repo.unmark_sessions_tagged(told)
            self.sweep.again(told)

    def _over_many(self) -> frozenset[str]:
        rules = (rule for engine in self._engines() for rule in engine.engine.snapshot().rules.rules)
        return frozenset(rule.rule_id for rule in rules if rule.correlation is not None)

    async def _settle(self, said: Judgement, repo: BaseRepository) -> None:
        """What is stored of the sessions stands as far as it does by what is known now; what does not is counted."""
        if said.better or said.whole:
            engines = (engine.engine for engine in self._engines())
            self.replaced_later += await settle(said, InForce.of(engines, self.marks_sessions), repo)

    async def _told_once(
        self, tags: list[TTPTag], floods: Sequence[Flood], repo: BaseRepository
    ) -> list[TTPTag]:
        """What is left when the requests of a flood are told once; what is not stored or gives way is counted."""
        rules = [rule for engine in self._engines() for rule in engine.engine.snapshot().rules.rules]
        told = await told_once(tags, floods, rules, repo)
        self.told_once += len(
            ({tag.uuid for tag in tags} - {tag.uuid for tag in told.tags})
            | told.gone.keys()
            | told.replaced.keys()
        )
        return told.tags

    async def _aggregate(self, repo: BaseRepository, _bus: BaseBus) -> None:
        """Judges what stored rows say about attackers that are due; a mark goes with the tags it gave."""
        while not self.waiting_for() and (marks := await repo.due_take(self.name, AT_ONCE)):
            times = {mark["attacker_uuid"]: float(mark["until"]) for mark in marks}
            events = await due_events(repo, marks)
            newest = max(times.values())
            async with transaction(repo) as tx:
                hidden = IgnoredSources(await tx.repo.ignored_attackers(times))
                known = {e: times.get(e.attacker_uuid or "", newest) for e in events}
                await self.judge(known, tx, hidden, renew=True, judged=await _first_seen(events, tx.repo))
                await tx.repo.due_done(self.name, marks)
            if len(marks) < AT_ONCE:
                return

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """One task for each tagger with rules behind it, and the sweep."""
        watches = {f"watch-{i}": w.watch_store for i, w in enumerate(self.tagger.iter_watchables())}
        return {**watches, "sweep": self.sweep.run}

    def unfinished(self) -> str:
        """The first sweep belongs to the work that a start brings, and no work is done without rules."""
        if lacking := self.waiting_for():
            return f"waits for {lacking}: nothing is judged"
        return "" if self.sweep.swept.is_set() else "sessions without tags are looked for"

    def waiting_for(self) -> str:
        """``rules`` while its tagger judges by rules and none are in force."""
        engines = list(self._engines())
        return "rules" if engines and not any(len(e.engine.snapshot().rules) for e in engines) else ""

    def health(self) -> dict[str, Any]:
        """Rules and suppressed tags; degraded without rules."""
        engines = list(self._engines())
        loaded = sum(len(engine.engine.snapshot().rules) for engine in engines)
        errors = self.store.errors() if self.store else []
        out: dict[str, Any] = {
            "rules_loaded": loaded,
            "rules_failed": len({error.place.file for error in errors}),
            "rules_superseded": sum(
                1 for engine in engines for rule in engine.engine.snapshot().rules.rules if rule.superseded
            ),
            "rule_failures": sum(engine.engine.failures.total for engine in engines),
            "rules_tripped": sum(engine.engine.failures.out_of_action() for engine in engines),
            "suppressed": sum(sum(engine.engine.suppressed.values()) for engine in engines),
            "tags_replaced": sum(engine.engine.replaced.total() for engine in engines),
            "views_capped": sum(engine.engine.views_capped for engine in engines),
            "tags_inserted": self.inserted,
            "tags_told_once": self.told_once,
            "tags_replaced_later": self.replaced_later,
            "tags_ignored": sum(self.suppression.ignored.values()),
            "sessions_refused": self.sweep.refused,
            **bitten(
                FACTS_CAPPED,
                SCRIPT_CAPPED,
                EVIDENCE_CUT,
                ATTEMPTS_UNCOUNTED,
                NEWS_CUT,
                PARTS_APART,
                STORY_CAPPED,
            ),
            **{key: value for windows in self.windows for key, value in windows.health().items()},
            **(self.store.where() if self.store else {}),
        }
        if self.waiting_for():
            failed = out["rules_failed"]
            out["degraded"] = f"no rules loaded: {failed} files failed" if failed else "no rules loaded"
        return out

    async def stop(self) -> None:
        """Says so."""
        _log.info("ttp worker stopped")

    def _engines(self) -> Iterable[RuleEngineTagger]:
        return (lifter for lifter in self.tagger.lifters if isinstance(lifter, RuleEngineTagger))


async def _stored_intel(ended: Sequence[SessionEnded], repo: BaseRepository) -> list[Received]:
    """What is known about the attackers of ended sessions, as the events that it once came in."""
    owners = {owner for session in ended if (owner := session.attacker) is not None}
    stored = await repo.intel_of(owners)
    return all_received(Event(_ENRICHED, dict(payload), "", "", ts) for ts, payload in stored)


async def _first_seen(events: Sequence[TaggerEvent], repo: BaseRepository) -> list[Judged]:
    """Aggregates with the first sight of whom they are about: of what has no time of its own that is the time.

    It follows from the rows alone, and so does not depend on when they were looked at.
    """
    about = {event: _attackers_of(event) for event in events}
    seen = await repo.first_seen_of(sorted({attacker for several in about.values() for attacker in several}))
    moments = ((event, [seen[a] for a in several if a in seen]) for event, several in about.items())
    return [(event, min(times)) for event, times in moments if times]


def _attackers_of(event: TaggerEvent) -> Sequence[str]:
    several = event.payload.get("attacker_uuids")
    return [event.attacker_uuid] if event.attacker_uuid else several if isinstance(several, list) else []


async def _renew(evidence: Mapping[str, dict[str, Any]], repo: BaseRepository) -> None:
    if not evidence:
        return
    stored = await repo.tag_evidence(sorted(evidence))
    await repo.renew_evidence(
        {
            uuid: why
            for uuid, why in evidence.items()
            if why != stored.get(uuid) and grown(stored.get(uuid, {}), why)
        }
    )


def _judgeable(known: Iterable[Received]) -> list[tuple[TaggerEvent, Event]]:
    """What there is to judge, with the event of each; off the event loop, since a long session is read as a whole."""
    return [(tagged, one.event) for one in known for tagged in tagger_events(one)]


async def _publish(tags: Iterable[TTPTag], tx: Transaction) -> None:
    """``ttp.tagged`` for each subject, with what fired for each of its techniques; ids are derived."""
    groups: dict[_Key, list[TTPTag]] = defaultdict(list)
    for tag in tags:
        groups[tag.attacker_uuid, tag.identity_uuid, tag.session_id].append(tag)
    for (attacker, identity, session), group in groups.items():
        who = {"attacker_uuid": attacker, "identity_uuid": identity, "session_id": session}
        techniques: dict[str, list[TTPTag]] = defaultdict(list)
        for tag in group:
            techniques[tag.technique_id].append(tag)
        names = sorted({tag.sub_technique_id or tag.technique_id for tag in group})
        fired, uuids = _fired(techniques)
        told = Tagged(**who, tag_uuids=uuids, techniques_added=names[:_MAX_UUIDS], fired=fired)
        await tx.bus.publish(
            topics.ttp(topics.TTP_TAGGED),
            told.build(),
            event_type="tagged",
            event_id=event_id("ttp", ",".join(sorted(tag.uuid for tag in group))),
        )


def _fired(techniques: Mapping[str, Sequence[TTPTag]]) -> tuple[list[Fired], list[str]]:
    """What fired, by technique, and the uuids of the tags in that order, as many as an event may hold."""
    bit(NEWS_CUT, sum(map(len, techniques.values())) > _MAX_UUIDS)
    fired: list[Fired] = []
    uuids: list[str] = []
    for technique, tags in sorted(techniques.items()):
        own = sorted(tag.uuid for tag in tags)[: _MAX_UUIDS - len(uuids)]
        rules = sorted({tag.rule_id for tag in tags})[:_MAX_UUIDS]
        uuids += own
        fired += [Fired(technique_id=technique, rule_ids=rules, tags=len(own))] if own else []
    return fired, uuids


async def run_ttp_worker_loop(
    repo: BaseRepository,
    *,
    poll_interval_secs: float = 60.0,
    tagger: Tagger | None = None,
    shutdown: asyncio.Event | None = None,
    bus: BaseBus | None = None,
) -> None:
    """Runs the worker alone until ``shutdown`` is set; ends clean when cancelled.

    Without a bus it says so once and looks at the database every ``poll_interval_secs``. Raises ConfigError for an
    unknown type of bus.
    """
    from decnet.bus.factory import bus_of_lone_worker
    from decnet.runtime.supervisor import Supervisor
    from decnet.ttp.store.factory import get_rule_store

    settings = load_settings()
    runtime = settings.runtime.model_copy(update={"poll_interval_s": poll_interval_secs})
    settings = settings.model_copy(update={"runtime": runtime})
    bus = bus or bus_of_lone_worker("ttp", settings)
    store = None if tagger is not None else get_rule_store(settings, repo=repo, bus=bus)
    supervisor = Supervisor([TtpWorker(store, settings, tagger)], repo, bus, settings)
    await supervisor.start()
    try:
        await (shutdown or asyncio.Event()).wait()
    finally:
        await supervisor.stop()
        if store is not None:
            await store.close()
