"""The attribution worker: observations become states, merges are followed, a tick compares sessions.

All effects of a batch are one transaction under the row locks of its identities. The three functions
at the end do the same things one by one, for whoever has no engine.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from decnet.attribution.alerts import examine_due, settle
from decnet.attribution.link_job import LinkJob
from decnet.attribution.observation_event import PREFIX, ObservationEvent, observation_of, observations_of
from decnet.attribution.regrouped import composed, follow
from decnet.attribution.states import recompute
from decnet.bounds import bitten
from decnet.bus import topics
from decnet.bus.base import BaseBus, Event
from decnet.bus.publish import publish_safely
from decnet.config import Settings, load_settings
from decnet.db.repository.attribution.identities import GROUPS_TOO_LARGE, Moved
from decnet.db.repository.attribution.windows import Key
from decnet.errors import MalformedEvent
from decnet.events.identity import LINKING, Merged, Unmerged
from decnet.ids import identity_id
from decnet.logs import get_logger
from decnet.runtime.received import Received
from decnet.runtime.worker import Job, Transaction, TxBus, Worker

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

log = get_logger(__name__)
PATTERN = f"{PREFIX}>"
TOGETHER = topics.attacker_observations()
MERGED = topics.identity(topics.IDENTITY_MERGED)
UNMERGED = topics.identity(topics.IDENTITY_UNMERGED)
STARTED = f"attribution worker started pattern={PATTERN}"
CLIENT_NAME = "attribution-correlator"
LEASE = "attribution.tick"
MAX_WAITING = 10_000
"""Put-off observations at a time at most; a broker that waits for more of them would deliver nothing else."""
AnyBus = BaseBus | TxBus | None


def _now() -> float:
    """Epoch seconds; tests replace it. It stamps news and decides nothing."""
    return time.time()


class AttributionWorker(Worker):
    """States of primitives and alerts about shared identities."""

    name = "attribution"
    topics = (PATTERN, TOGETHER, MERGED, UNMERGED)
    keeps = topics

    def __init__(
        self,
        settings: Settings | None = None,
        tick_secs: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        settings = settings or load_settings()
        configured = settings.attribution
        every = configured.multi_actor_tick_secs if tick_secs is None else tick_secs
        self.wait, self.clock, self.every = configured.observation_wait, clock, every
        self._began_at = clock()
        self._checked_at: float | None = None
        self.room = min(MAX_WAITING, settings.bus.max_ack_pending // 2)
        self._waiting: dict[str, float] = {}
        self.links = LinkJob(settings)
        self.jobs = (
            Job("linking", settings.linking.interval_s, self.links.run, by_data=True),
            Job("multi-actor", every, self._tick, lease=LEASE, by_data=True),
        )
        self._repo: BaseRepository | None = None
        self.contradictory = self.deferred = self.alerts = self.merges_refused = self.partings_held = 0
        self._refused: set[tuple[str, str]] = set()

    async def start(self, repo: BaseRepository, bus: BaseBus) -> None:
        """Says what it listens to."""
        self._repo = repo
        self._began_at = self.clock()
        log.info(STARTED)

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """The lease of linking is kept while there is nothing to link."""
        return {"linking-lease": self._keep_linking}

    async def _keep_linking(self) -> None:
        assert self._repo is not None
        await self.links.keep(self._repo)

    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        """States after a batch; observations of attackers that nobody knows yet come again later."""
        known = self._readable([one for one in batch if not isinstance(one.record, (Merged, Unmerged))], tx)
        told = [one.record for one in batch if isinstance(one.record, (Merged, Unmerged))]
        if news := [each for each in told if each.source != LINKING]:
            await follow(tx.repo, tx.bus, await hear(tx.repo, news))
            await self._note_refused(news, tx.repo)
            await self._note_held(news, tx.repo)
        unknown = await observe(tx.repo, tx.bus, [found for _, several in known for found in several])
        for event, several in known:
            if any(found.attacker_uuid in unknown for found in several):
                self._put_off(event, tx)
            else:
                self._waiting.pop(event.id, None)

    async def _note_refused(self, news: Sequence[Merged | Unmerged], repo: BaseRepository) -> None:
        """Merges that join nothing, since an operator said that they may not; each is told of once."""
        pairs = {(each.winner_uuid, each.loser_uuid) for each in news if isinstance(each, Merged)}
        for winner, loser in sorted(await repo.refused_merges(pairs) - self._refused):
            self.merges_refused += 1
            log.warning("a merge joins nothing: an operator said not the same", winner=winner, loser=loser)
            if len(self._refused) < MAX_WAITING:
                self._refused.add((winner, loser))

    async def _note_held(self, news: Sequence[Merged | Unmerged], repo: BaseRepository) -> None:
        """Partings that part nothing, since something else says that the two are one."""
        pairs = {(each.resurrected, each.former_winner) for each in news if isinstance(each, Unmerged)}
        for one, former in sorted(await repo.held_together(pairs)):
            self.partings_held += 1
            log.info("a parting parts nothing: links or other merges hold the two", one=one, former=former)

    def _readable(
        self, events: Sequence[Received], tx: Transaction
    ) -> list[tuple[Event, list[ObservationEvent]]]:
        """The observations of each event; one that cannot be read is a dead letter."""
        out = []
        for one in events:
            try:
                out.append((one.event, observations_of(one)))
            except MalformedEvent as error:
                _skipped(error)
                self.contradictory += 1
                tx.dead_letter(one.event, f"malformed observation: {error}")
        return out

    def _put_off(self, event: Event, tx: Transaction) -> None:
        """Again later, but not for ever: what is put off takes room that other events need."""
        now = self.clock()
        if event.id not in self._waiting and len(self._waiting) >= self.room:
            tx.dead_letter(
                event, f"its attacker is unknown, and {self.room} observations wait for theirs already"
            )
            return
        if now - self._waiting.setdefault(event.id, now) >= self.wait:
            del self._waiting[event.id]
            tx.dead_letter(event, f"its attacker stayed unknown for {self.wait:g} s")
            return
        self.deferred += 1
        tx.defer(event)

    async def _tick(self, repo: BaseRepository, bus: BaseBus) -> None:
        """One tick with its news in the outbox; what fired before is read from the alerts."""
        fresh = await examine_due(repo)
        async with repo.transaction() as bound:
            out = TxBus()
            await settle(out, bound, await fired_alerts(bound), fresh, _now())
            await bound.outbox_add_many(out.events)
        self.alerts += len(out.events)
        self._checked_at = self.clock()

    def health(self) -> dict[str, Any]:
        """Observations that contradict their topic, put off, waiting now; alerts told; merges that joined nothing."""
        counts = {"contradictory": self.contradictory, "deferred": self.deferred, "alerts_told": self.alerts}
        refused = {"merges_refused": self.merges_refused, "partings_held": self.partings_held}
        refused |= bitten(GROUPS_TOO_LARGE)
        return {**counts, "waiting": len(self._waiting), **refused, **self._checks(), **self.links.health()}

    def _checks(self) -> dict[str, Any]:
        """Whether identities were looked at by this engine, and in how many seconds they are (again)."""
        since = self.clock() - (self._began_at if self._checked_at is None else self._checked_at)
        return {
            "alerts_checked": self._checked_at is not None,
            "next_check_s": round(max(0.0, self.every - since), 1),
        }

    def unfinished(self) -> str:
        """What links of sessions change for others."""
        return "links to follow" if self.links.behind else ""

    async def owed(self, repo: BaseRepository) -> str:
        """Sessions that are not linked yet, counted as they are now: the job looks at them once in a while only."""
        waiting = await repo.link_due_count() if self.links.settings.enabled else 0
        return f"{waiting} sessions to link" if waiting else ""

    async def stop(self) -> None:
        """Lets another engine link, and says so."""
        if self._repo is not None:
            await self.links.leave(self._repo)
        log.info("attribution worker stopped")


def _skipped(error: MalformedEvent) -> None:
    log.debug("malformed observation skipped", reason=str(error))


async def observe(repo: BaseRepository, bus: TxBus, found: Sequence[ObservationEvent]) -> set[str]:
    """States after some observations, in the running transaction; the attackers that nobody knows yet."""
    attackers = {item.attacker_uuid for item in found}
    owners = await repo.identities_of_attackers(attackers)
    unknown = attackers - owners.keys()
    for attacker in sorted(unknown):
        log.info("unknown attacker, deferring", attacker=attacker)
    if await repo.lock_identities({*owners.values(), *map(identity_id, owners)}):
        owners = await repo.identities_of_attackers(owners)
    known = [item for item in found if item.attacker_uuid in owners]
    await repo.insert_observations([item.row for item in known if item.row])
    keys: dict[Key, list[float]] = defaultdict(list)
    for item in known:
        keys[owners[item.attacker_uuid], item.primitive].append(item.ts)
    if keys:
        await recompute(repo, bus, keys, _now())
    return unknown


async def hear(repo: BaseRepository, news: Sequence[Merged | Unmerged]) -> Moved:
    """Takes in what others say of identities; who is one with somebody else by it.

    What a merge would do and is done already is among it, since what followed from it may not be.
    """
    steps: list[Moved] = []
    for each in news:
        seq = each.seq or 0
        if isinstance(each, Merged):
            steps.append(await repo.merge_identities(each.winner_uuid, each.loser_uuid, seq))
        else:
            steps.append(await repo.part_identities(each.resurrected, each.former_winner, seq))
    losers = {each.loser_uuid for each in news if isinstance(each, Merged)}
    names = await repo.canonical_identities(losers)
    stands = {loser: (loser, name) for loser, name in names.items() if loser != name}
    return {**stands, **composed(steps)}


async def fired_alerts(repo: BaseRepository) -> dict[str, frozenset[str]]:
    """What stands already: identity → primitives of its alert."""
    return {row["identity_uuid"]: frozenset(row["primitives"] or ()) for row in await repo.standing_alerts()}


async def handle_observation_event(
    bus: AnyBus, repo: BaseRepository, event: Event | Mapping[str, Any] | object
) -> bool:
    """Takes one observation in, in a transaction of its own: an event, anything with a payload, or a payload.

    False when it cannot be read, or when its attacker is not known yet: then it has to come again.
    """
    try:
        found = observation_of(event)
    except MalformedEvent as error:
        _skipped(error)
        return False
    out = TxBus()
    async with repo.transaction() as bound:
        unknown = await observe(bound, out, [found])
    await _pass_on(bus, out)
    return not unknown


async def tick_multi_actor(bus: AnyBus, repo: BaseRepository, last_fired: dict[str, frozenset[str]]) -> int:
    """One tick; the number of alerts told. ``last_fired`` (identity → primitives) is brought up to date."""
    fresh = await examine_due(repo)
    out = TxBus()
    async with repo.transaction() as bound:
        standing = await settle(out, bound, last_fired, fresh, _now())
    last_fired.clear()
    last_fired.update(standing)
    await _pass_on(bus, out)
    return len(out.events)


async def _pass_on(bus: AnyBus, out: TxBus) -> None:
    """News to whatever bus there is: to the outbox of a transaction as they are, to others safely."""
    if isinstance(bus, TxBus):
        bus.events += out.events
        return
    for event in out.events:
        await publish_safely(bus, event.topic, event.payload, event.type)


async def run_attribution_loop(
    repo: BaseRepository,
    *,
    shutdown: asyncio.Event | None = None,
    multi_actor_tick_secs: float | None = None,
    bus: BaseBus | None = None,
) -> None:
    """Runs the worker alone until ``shutdown`` is set; ends clean when cancelled.

    Without a bus it says so once and is idle until there is one. Raises ConfigError for an unknown type of bus.
    """
    from decnet.bus.factory import bus_of_lone_worker
    from decnet.runtime.supervisor import Supervisor, run_until

    settings = load_settings()
    own = bus or bus_of_lone_worker(CLIENT_NAME, settings)
    worker = AttributionWorker(settings, multi_actor_tick_secs)
    try:
        await run_until(Supervisor([worker], repo, own, settings), shutdown or asyncio.Event())
    finally:
        if bus is None:
            await own.close()
