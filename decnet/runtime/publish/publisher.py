"""Messages on their way: stored for each target that asked for their topic, sent in order, kept until they are taken.

Of several engines on one database the one with a target's lease sends to it. A message may come twice, after an engine
that fell between sending and forgetting; its id is the same then.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from decnet.bus.base import BaseBus, matches
from decnet.db.repository import BaseRepository
from decnet.db.rows.runtime import WaitingMessage
from decnet.errors import ConfigError, DatabaseError
from decnet.logs import get_logger
from decnet.publish_settings import (
    FileSettings,
    PublishSettings,
    SyslogSettings,
    TargetSettings,
    WebhookSettings,
)
from decnet.runtime.leases import OWNER
from decnet.runtime.publish.files import JsonFile
from decnet.runtime.publish.messages import Channel, Message, NotDelivered
from decnet.runtime.publish.syslog import Syslog
from decnet.runtime.publish.webhook import Webhook

log = get_logger(__name__)
LEASE = "publish"
LEASE_S = 60.0
LEASE_LOOK_S = 1.0
"""Seconds between looks of an engine without the lease for one that is gone."""
RECENT = 10_000
"""Events of which a target remembers that it was told: two of its patterns may cover one."""
LOOK_S = 5.0
"""Seconds between looks of an engine that sends nothing for what others stored."""
MAX_UNSTORED = 100
"""Messages that wait in memory while the database takes none: of a full disk people are to hear, too."""
NOTICE = "notice"


class Recent:
    """The ids of the newest events."""

    def __init__(self, most: int = RECENT) -> None:
        self._most = most
        self._ids: dict[str, None] = {}

    def is_new(self, ident: str) -> bool:
        """Whether it was not asked about before."""
        if ident in self._ids:
            return False
        self._ids[ident] = None
        if len(self._ids) > self._most:
            del self._ids[next(iter(self._ids))]
        return True


class Publisher:
    """Services of the engine. ``clock`` gives epoch seconds. Raises ConfigError for a CA file that cannot be used."""

    def __init__(
        self,
        settings: PublishSettings,
        repo: BaseRepository,
        bus: BaseBus,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings, self.repo, self.bus = settings, repo, bus
        self._clock, self._monotonic = clock, monotonic
        self._holds, self._asked_again_at = False, float("-inf")
        self._targets = {target.name: target for target in settings.targets}
        self._channels = {name: _channel(target) for name, target in self._targets.items()}
        self._unstored: dict[str, deque[Message]] = {name: deque() for name in self._targets}
        self._recent = {name: Recent() for name in self._targets}
        self._news = {name: asyncio.Event() for name in self._targets}
        self.waiting: dict[str, int] = dict.fromkeys(self._targets, 0)
        """Messages that wait, by target, as of the last look."""
        self.counts: Counter[str] = Counter()
        """What became of messages: publish_sent, publish_failed (rounds), publish_dropped (no room), publish_given_up."""

    def services(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs for ever, by name."""
        told = {f"publish-{pattern}": partial(self._follow, pattern) for pattern in self.patterns()}
        sent = {f"publish-to-{name}": partial(self._deliver, name) for name in self._targets}
        return {**told, **sent}

    def patterns(self) -> list[str]:
        """Patterns of topics that are asked for beside notices."""
        asked = {topic for target in self._targets.values() for topic in target.topics}
        return sorted(topic for topic in asked if topic.partition(".")[0] != NOTICE)

    async def offer(self, message: Message) -> None:
        """Stores a message for every target that asked for its topic."""
        names = [name for name, target in self._targets.items() if _wants(target, message.topic)]
        await self._store(names, message)

    async def _follow(self, pattern: str) -> None:
        """For ever: events of one pattern. One that several patterns of a target cover is stored once: its id is one."""
        names = [name for name, target in self._targets.items() if pattern in target.topics]
        async with self.bus.subscribe(pattern) as news:
            async for event in news:
                fresh = [name for name in names if self._recent[name].is_new(event.id)]
                if fresh and await self._stores():
                    await self._store(fresh, Message.of_event(event))

    async def _stores(self) -> bool:
        """Of several engines the one with the lease stores; without a database each speaks for itself."""
        now = self._monotonic()
        if now >= self._asked_again_at:
            try:
                self._holds = await self.repo.lease_acquire(LEASE, OWNER, LEASE_S)
            except DatabaseError:
                return True
            self._asked_again_at = now + (LEASE_S / 2 if self._holds else LEASE_LOOK_S)
        return self._holds

    async def _store(self, names: Sequence[str], message: Message) -> None:
        room = [name for name in names if self.waiting[name] < self.settings.max_waiting]
        if len(room) < len(names):
            self.counts["publish_dropped"] += len(names) - len(room)
            log.warning(
                "message dropped: too many wait", topic=message.topic, dropped=self.counts["publish_dropped"]
            )
        now = self._clock()
        try:
            added = await self.repo.publish_add(
                [(name, message.ident, message.topic, message.ts, message.body) for name in room], now
            )
        except DatabaseError as error:
            log.warning("message not stored, kept in memory", topic=message.topic, reason=str(error))
            for name in room:
                if len(self._unstored[name]) < MAX_UNSTORED:
                    self._unstored[name].append(message)
                else:
                    self.counts["publish_dropped"] += 1
            added = 0
        for name in room:
            self.waiting[name] += bool(added)
            self._news[name].set()

    async def _deliver(self, name: str) -> None:
        """For ever: rounds for one target, with growing pauses while it takes nothing."""
        pause = self.settings.retry_s
        while True:
            self._news[name].clear()
            try:
                more = await self.round(name)
                pause = self.settings.retry_s
            except NotDelivered as error:
                self.counts["publish_failed"] += 1
                wait = max(pause, error.wait_s or 0.0)
                log.warning("messages not delivered", target=name, reason=str(error), again_in_s=wait)
                pause = min(pause * 2, self.settings.retry_max_s)
                await asyncio.sleep(wait)
                continue
            except DatabaseError as error:
                log.debug("messages wait for the database", target=name, reason=str(error))
                more = False
            if not more:
                await self._nap(name)

    async def _nap(self, name: str) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._news[name].wait()
        except TimeoutError:
            return

    async def round(self, name: str) -> bool:
        """Sends what waits for a target; whether there may be more. Raises NotDelivered or DatabaseError."""
        await self._send_unstored(name)
        self.waiting[name] = await self.repo.publish_count(name)
        if not self.waiting[name] or not await self.repo.lease_acquire(f"publish-{name}", OWNER, LEASE_S):
            return False
        await self._give_up_old(name)
        rows = await self.repo.publish_take(name, self.settings.batch)
        if not rows:
            return False
        await self._send(name, rows)
        self.waiting[name] = max(self.waiting[name] - len(rows), 0)
        return len(rows) == self.settings.batch

    async def _send(self, name: str, rows: Sequence[WaitingMessage]) -> None:
        """What was taken before something went wrong is forgotten, and so is what will never be taken."""
        done, trouble = len(rows), None
        try:
            await self._channels[name].send([_message(row) for row in rows])
        except NotDelivered as error:
            done, trouble = error.taken, error
        self.counts["publish_sent"] += done
        gone = [row["row_id"] for row in rows[:done]]
        if trouble is not None and trouble.final:
            gone.append(rows[done]["row_id"])
            self.counts["publish_given_up"] += 1
            log.error("message refused for good", target=name, topic=rows[done]["topic"], reason=str(trouble))
        await self.repo.publish_forget(gone)
        if trouble is not None and not trouble.final:
            raise trouble

    async def _send_unstored(self, name: str) -> None:
        while self._unstored[name]:
            await self._channels[name].send([self._unstored[name][0]])
            self._unstored[name].popleft()
            self.counts["publish_sent"] += 1

    async def _give_up_old(self, name: str) -> None:
        count = await self.repo.publish_forget_older(name, self._clock() - self.settings.keep_s)
        if count:
            self.counts["publish_given_up"] += count
            log.error("messages given up: their target took none for too long", target=name, messages=count)

    def figures(self) -> Mapping[str, int]:
        """For the health of the engine."""
        names = ("publish_sent", "publish_failed", "publish_dropped", "publish_given_up")
        kept = sum(map(len, self._unstored.values()))
        return {name: self.counts[name] for name in names} | {
            "publish_waiting": sum(self.waiting.values()) + kept
        }

    async def close(self) -> None:
        """Ends what channels have open."""
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))


def _wants(target: TargetSettings, topic: str) -> bool:
    return any(matches(pattern, topic) for pattern in target.topics)


def _message(row: WaitingMessage) -> Message:
    return Message(row["ident"], row["topic"], row["ts"], row["body"])


def _channel(target: TargetSettings) -> Channel:
    try:
        if isinstance(target, WebhookSettings):
            return Webhook(target)
        if isinstance(target, SyslogSettings):
            return Syslog(target)
        assert isinstance(target, FileSettings)
        return JsonFile(target)
    except OSError as error:
        raise ConfigError(
            f"publish: target {target.name}: its CA file cannot be used: {error.strerror or error}"
        ) from error
