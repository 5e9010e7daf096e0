"""The worker ``intel``: keeps the files of places and lists fresh, and has services asked that the operator turned on.

With every service off it reads no topic, holds no place in the stream and opens no connection. A batch only notes what
is to be asked; asking is a task of its own (:mod:`decnet.intel.asking`), so that a slow service holds nothing up.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from decnet.bus import topics
from decnet.bus.base import BaseBus
from decnet.config import Settings, load_settings
from decnet.errors import BusError
from decnet.intel.asking import Asker, LeaseLost
from decnet.intel.library import Library, Source
from decnet.intel.places import Places
from decnet.intel.questions import wanted_of
from decnet.intel.services.base import Kind
from decnet.intel.services.catalogue import SERVICES
from decnet.logs import get_logger
from decnet.runtime.leases import OWNER
from decnet.runtime.received import Received
from decnet.runtime.worker import Transaction, Worker

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

log = get_logger(__name__)
OBSERVED: Final = topics.attacker(topics.ATTACKER_OBSERVED)
ENDED: Final = topics.attacker(topics.ATTACKER_SESSION_ENDED)
LOOK_S: Final = 5.0
"""Seconds between looks at questions that wait, when nobody rings."""
GIVE_WAY_S: Final = 0.5
"""Seconds between two runs of asking: somebody else may wait for the lease."""
_AFTER_COMMIT_S = 0.1
MAX_SHOWN: Final = 50
"""Files that health tells of one by one; those that are not in order come first."""
_FAULTY = ("failed", "old")


class IntelWorker(Worker):
    """Takes over files that changed, notes what services are to be asked, and has them asked."""

    name = "intel"
    keeps = ()  # faults of its topics are told of by who records them
    without_bus = "asking what waits"

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        owner: str = OWNER,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings or load_settings()
        self._owner, self._clock = owner, clock
        self._kinds: dict[str, frozenset[Kind]] = {
            name: service.kinds for name, service in SERVICES.items() if getattr(self._settings, name).enabled
        }
        self.topics = tuple(_topics_for(self._kinds.values()))
        self.places: Places
        self.asker: Asker | None = None
        self._bell = asyncio.Event()
        self._noted = False
        self._counts = Counter[str]()

    async def start(self, repo: BaseRepository, bus: BaseBus) -> None:
        """Nothing is read or asked yet."""
        own = self._settings.intel
        self.places = Places(Library(own, self._settings.intel_folder), own.own_networks)
        self._bus = bus
        if self._kinds and self.asker is None:  # its counters go on over lives
            self.asker = Asker(self._settings, repo, owner=self._owner, clock=self._clock)
        log.info("intel worker started", services=list(self._kinds), topics=len(self.topics))

    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        """Notes what is to be asked about; a question that waits already waits once."""
        asker = self.asker
        assert asker is not None
        entries = await tx.repo.ignore_set()

        def ignored(address: str | None) -> bool:
            found = entries.by_address(address) is not None
            if found:
                asker.desk.passed_over("ignored_source")
            return found

        wanted = wanted_of(batch, self._kinds, asker.desk.askable, ignored)
        self._counts["questions_left_out"] += wanted.left_out
        if wanted.questions:
            await tx.repo.intel_due_add(wanted.questions.values())
            self._noted = True
            # The rows can be seen once this batch is committed, so the bell rings a little later.
            asyncio.get_running_loop().call_later(_AFTER_COMMIT_S, self._bell.set)

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """The look for files that changed; asking, where there is somebody to be asked."""
        tasks: dict[str, Callable[[], Awaitable[None]]] = {"files": self._follow_files}
        if self._kinds:
            tasks["ask"] = self._ask
        return tasks

    async def _follow_files(self) -> None:
        left_stream = bool(self._kinds)
        while True:
            if not left_stream:
                left_stream = await self._leave_stream()
            await self.refresh()
            await asyncio.sleep(self._settings.intel.refresh_s)

    async def refresh(self) -> None:
        """Takes over files that changed; large ones take seconds to read, so a thread does."""
        for source in await asyncio.to_thread(self.places.refresh):
            _tell_of(source)

    async def _leave_stream(self) -> bool:
        """A place in the stream that nobody moves any more would keep all that is behind it for ever."""
        try:
            await self._bus.forget_consumer(self.name)
        except BusError as error:
            log.debug("the place in the stream is left later", reason=str(error))
            return False
        return True

    async def _ask(self) -> None:
        assert self.asker is not None
        while True:
            self._bell.clear()
            self._noted = False
            try:
                ended = await self.asker.run()
            except LeaseLost as lost:
                self._counts["leases_lost"] += 1
                log.warning("asking was given up", reason=str(lost))
                ended = 0
            if ended:
                await asyncio.sleep(GIVE_WAY_S)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._bell.wait()

    def unfinished(self) -> str:
        """Questions that could be asked now; not those that wait for a budget or for a service that rests."""
        if self._noted:
            return "questions were noted"
        ready = self.asker.ready if self.asker is not None else 0
        return f"{ready} questions not asked" if ready else ""

    def health(self) -> dict[str, Any]:
        """The files with their age and what is wrong, the services with what is left of their budgets, and what waits."""
        places = getattr(self, "places", None)
        sources = sorted(places.library.sources, key=_faulty_first) if places else []
        faulty = [source for source in sources if source.state in _FAULTY]
        now = self._clock()
        asked = self._of_services()
        wrong = [f"{source.name} ({source.state}): {source.error}" for source in faulty[:3]]
        refused = [
            f"{name}: the key is not taken"
            for name, one in asked.get("services", {}).items()
            if one["last_fault"] == "refused"
        ]
        return {
            "sources": [_shown(source, now) for source in sources[:MAX_SHOWN]],
            "sources_read": len(sources) - len(faulty),
            "sources_taken": places.library.taken if places else 0,
            "sources_refused": places.library.refused if places else 0,
            "sources_faulty": len(faulty),
            "sources_passed_over": len(places.library.passed_over) if places else 0,
            **asked,
            "degraded": "; ".join([*wrong, *refused]),
        }

    def _of_services(self) -> dict[str, Any]:
        asker = self.asker
        if asker is None:
            return {"services": {}}
        told = asker.desk.health()
        services = {
            name: {**one, "waiting": asker.waiting.get(name, 0)} for name, one in told["services"].items()
        }
        return {
            **told,
            "services": services,
            "questions_waiting": sum(asker.waiting.values()),
            "questions_asked": sum(one["asked"] for one in services.values()),
            "questions_failed": sum(sum(one["faults"].values()) for one in services.values()),
            "answers_told": asker.told,
            "questions_given_up": asker.given_up,
            "questions_dropped": asker.dropped,
            "questions_left_out": self._counts["questions_left_out"],
            "leases_lost": self._counts["leases_lost"],
        }

    async def stop(self) -> None:
        """Gives up what is under way; it is asked again in the next life."""
        if self.asker is not None:
            await self.asker.close()
        log.info("intel worker stopped")


def _topics_for(kinds: Iterable[frozenset[Kind]]) -> Iterator[str]:
    """What names something that one of the services can be asked about."""
    asked = frozenset().union(*kinds)
    if "address" in asked:
        yield OBSERVED
    if asked & {"sha256", "url"}:
        yield ENDED


def _faulty_first(source: Source) -> tuple[bool, str]:
    return source.state not in _FAULTY, source.name


def _shown(source: Source, now: float) -> dict[str, Any]:
    dated, content = source.dated, source.content
    return {
        "name": source.name,
        "kind": source.kind or None,
        "state": source.state,
        "entries": content.entries if content else None,
        "age_s": None if dated is None else max(0.0, round(now - dated, 1)),
        "error": source.error[:300],
    }


def _tell_of(source: Source) -> None:
    if source.state in _FAULTY:
        log.warning("intel file not in force", file=str(source.path), state=source.state, reason=source.error)
    elif source.content is not None:
        log.info("intel file taken over", file=str(source.path), entries=source.content.entries)
