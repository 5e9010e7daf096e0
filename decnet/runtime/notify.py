"""``--notify COMMAND`` and ``publish``: follows the news for what people should know of at once, and has them told.

Both are told the same. The program gets one JSON object on its standard input and nothing in its arguments, so that no
text of an attacker's ever stands on a command line. Runs are bounded: so many a minute, one at a time, each for so long;
what waits too long behind them is dropped and counted. The other targets are left to :mod:`decnet.runtime.publish`.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from decnet.attack.catalogue import load_catalogue
from decnet.bus import topics
from decnet.bus.base import BaseBus, Event, matches
from decnet.config import NotifySettings
from decnet.db.repository import BaseRepository
from decnet.errors import ConfigError, DatabaseError
from decnet.hostile import storable
from decnet.logs import get_logger
from decnet.runtime.leases import OWNER
from decnet.runtime.notices import BadSessions, PartNews
from decnet.runtime.publish.messages import Message

if TYPE_CHECKING:
    from decnet.runtime.publish.publisher import Publisher

log = get_logger(__name__)
LEASE = "notify"
LEASE_S = 30.0
_MINUTE = 60.0
_OF_A_TRIP = (
    "token_id", "trigger_id", "decky_id", "attacker_uuid", "attacker_ip", "peer_kind", "session_id",
    "path", "memo", "read_session_id", "read_ip", "read_uuid", "read_at",
)  # fmt: skip
QUEUE = 100
"""Notifications that wait for their run at most."""
_TAGGED = topics.ttp(topics.TTP_TAGGED)
_TRIPPED = "canary.*.triggered"
_ALERT = topics.attribution(topics.ATTRIBUTION_PROFILE_MULTI_ACTOR_SUSPECTED)
_JUDGED = topics.ttp(topics.TTP_SESSION_JUDGED)
_HEALTH = "system.*.health"


class Pace:
    """At most ``per_minute`` runs in any minute; times are seconds of a monotonic clock."""

    def __init__(self, per_minute: int) -> None:
        self._runs: deque[float] = deque(maxlen=per_minute)

    def wait(self, now: float) -> float:
        """Seconds until the next run is allowed."""
        full = len(self._runs) == self._runs.maxlen
        return max(self._runs[0] + _MINUTE - now, 0.0) if full else 0.0

    def ran(self, now: float) -> None:
        """A run began."""
        self._runs.append(now)


class Notifier:
    """Services of the engine: some follow the news for what is worth telling, :meth:`deliver` runs the program."""

    def __init__(
        self,
        settings: NotifySettings,
        repo: BaseRepository,
        bus: BaseBus,
        clock: Callable[[], float] = time.monotonic,
        publisher: Publisher | None = None,
    ) -> None:
        """``clock`` gives seconds that only grow. Raises ConfigError for a command that is none."""
        self.argv = (
            split_command(settings.command) if settings.command is not None or publisher is None else []
        )
        self.publisher = publisher
        self.settings, self.repo, self.bus, self.clock = settings, repo, bus, clock
        self.dropped = 0
        """Notifications that found the queue full; in the health of the engine."""
        self.failed = 0
        """Runs that could not be made, took too long or ended badly; there too."""
        self._pace = Pace(settings.per_minute)
        self._known: set[str] | None = None
        self._sessions = BadSessions(settings.severity)
        self._parts = PartNews()
        self._waiting: deque[dict[str, Any]] = deque()
        self._news = asyncio.Event()

    def services(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs for ever, by name."""
        own: dict[str, Callable[[], Awaitable[None]]] = {
            "notify-tags": self.follow_tags,
            "notify-alerts": self.follow_alerts,
            "notify-canaries": self.follow_canaries,
            "notify-sessions": self.follow_sessions,
            "notify-parts": self.follow_parts,
        }
        if self.argv:
            own["notify-tell"] = self.deliver
        return own | (self.publisher.services() if self.publisher is not None else {})

    def waiting(self) -> Mapping[str, int]:
        """Messages that wait, by target."""
        own = {"command": len(self._waiting)} if self.argv else {}
        return own | (self.publisher.waiting if self.publisher is not None else {})

    def figures(self) -> dict[str, int]:
        """For the health of the engine."""
        own = {"notify_dropped": self.dropped, "notify_failed": self.failed}
        return own | (dict(self.publisher.figures()) if self.publisher is not None else {})

    async def follow_tags(self) -> None:
        """For ever: techniques that no stored tag names yet."""
        if self._known is None:
            rows = await self.repo.technique_counts()
            self._known = {str(row["sub_technique_id"] or row["technique_id"]) for row in rows}
        await self._follow(_TAGGED)

    async def follow_alerts(self) -> None:
        """For ever: multi-actor alerts."""
        await self._follow(_ALERT)

    async def follow_canaries(self) -> None:
        """For ever: canary tokens that are set off for the first time."""
        await self._follow(_TRIPPED)

    async def follow_sessions(self) -> None:
        """For ever: sessions from the severity of the settings on."""
        await self._follow(_JUDGED)

    async def follow_parts(self) -> None:
        """For ever: sensors that fall silent or fail, workers that fail, a disk that is full."""
        await self._follow(_HEALTH)

    async def _follow(self, topic: str) -> None:
        """Of several engines on one database, the first to take the lease tells; the lease outlives the others' try."""
        async with self.bus.subscribe(topic) as news:
            async for event in news:
                found = self.messages(event)
                if found and await self._is_ours():
                    for message in found:
                        await self._tell(message, event)

    async def _is_ours(self) -> bool:
        """A database that takes nothing is news in itself: each engine tells it then."""
        try:
            return await self.repo.lease_acquire(LEASE, OWNER, LEASE_S)
        except DatabaseError:
            return True

    async def _tell(self, message: dict[str, Any], event: Event) -> None:
        try:
            message = await self._named(message)
        except DatabaseError as error:
            log.warning("notification names the identity as of its event", reason=str(error))
        if self.argv:
            self._put(message)
        if self.publisher is not None:
            await self.publisher.offer(Message.of_notice(message, event))

    async def _named(self, message: dict[str, Any]) -> dict[str, Any]:
        """A message with the identity as it is called now: news names the one of the time at which it was sent."""
        identity, attacker = message.get("identity_uuid"), message.get("attacker_uuid")
        if isinstance(attacker, str):
            identity = (await self.repo.identities_of([attacker]))[attacker]
        elif isinstance(identity, str):
            identity = await self.repo.canonical_identity(identity)
        return {**message, "identity_uuid": identity} if identity is not None else message

    def messages(self, event: Event) -> list[dict[str, Any]]:
        """What one event is worth telling, as JSON objects."""
        payload = event.payload
        if event.topic == _JUDGED:
            return self._sessions.messages(event)
        if matches(_HEALTH, event.topic):
            return self._parts.messages(event)
        if event.topic == _ALERT:
            return [{"kind": "multi_actor_suspected", "ts": event.ts, **payload}]
        if matches(_TRIPPED, event.topic):
            told = {name: payload.get(name) for name in _OF_A_TRIP} | {"token_kind": payload.get("kind")}
            first = payload.get("first_trip") is True
            return [{"kind": "canary_first_trip", "ts": event.ts, **told}] if first else []
        found = payload.get("techniques_added")
        known = self._known if self._known is not None else set()
        fresh = [t for t in found if isinstance(t, str) and t not in known] if isinstance(found, list) else []
        known.update(fresh)
        who = {k: payload.get(k) for k in ("attacker_uuid", "identity_uuid", "session_id")}
        name = load_catalogue().name
        return [
            {
                "kind": "technique_first_seen",
                "ts": event.ts,
                "technique_id": t,
                "technique_name": name(t),
                **who,
            }
            for t in fresh
        ]

    def _put(self, message: dict[str, Any]) -> None:
        if len(self._waiting) >= QUEUE:
            self.dropped += 1
            log.warning("notification dropped", kind=message["kind"], dropped=self.dropped)
            return
        self._waiting.append(message)
        self._news.set()

    async def deliver(self) -> None:
        """For ever: one message a run, in order, within the pace."""
        while True:
            while not self._waiting:
                self._news.clear()
                await self._news.wait()
            await asyncio.sleep(self._pace.wait(self.clock()))
            self._pace.ran(self.clock())
            await self._run(self._waiting.popleft())

    async def _run(self, message: dict[str, Any]) -> None:
        body = json.dumps(storable(message), ensure_ascii=True, default=str).encode() + b"\n"
        null = asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                *self.argv, stdin=asyncio.subprocess.PIPE, stdout=null, stderr=null
            )
        except OSError as error:
            self.failed += 1
            log.error("notify command cannot be run", command=self.argv[0], reason=error.strerror)
            return
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                await process.communicate(body)
        except TimeoutError:
            log.warning("notify command took too long and was ended", seconds=self.settings.timeout_s)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        self.failed += bool(process.returncode)
        if process.returncode:
            log.warning("notify command failed", kind=message["kind"], code=process.returncode)


def split_command(command: str | None) -> list[str]:
    """The program and its arguments. Raises ConfigError for one that has none or an open quote."""
    try:
        argv = shlex.split(command or "")
    except ValueError as error:
        raise ConfigError(f"notify.command: {error}") from error
    if not argv:
        raise ConfigError("notify.command names no program")
    return argv
