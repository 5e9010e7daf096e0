"""Tagging without the bus: sessions that the database holds and nobody has tagged.

Runs once at every start and, while the bus is away, every ``poll_interval_s`` seconds. What it
publishes waits in the outbox for the bus; what the stream delivers again later changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from decnet.bus import topics
from decnet.bus.base import BaseBus, Event
from decnet.db.repository import BaseRepository
from decnet.db.rows.recorder import EndedPayload
from decnet.errors import DatabaseError
from decnet.ids import event_id
from decnet.logs import get_logger
from decnet.runtime.received import Received, received
from decnet.runtime.worker import Transaction, transaction

_log = get_logger(__name__)
_PAGE = 100
MAX_AGAIN = 10_000
"""Sessions that wait to be judged once more; others keep their missing mark, which the next start finds."""
WAIT_LOOK_S = 0.2
"""Seconds between looks while the worker lacks what it judges by."""
_TOPIC = topics.attacker(topics.ATTACKER_SESSION_ENDED)

Handler = Callable[[Sequence[Received], Transaction], Awaitable[None]]


class UntaggedSweep:
    """Hands untagged sessions to a worker's own handler, a page a transaction."""

    def __init__(
        self, handle: Handler, interval_s: float, waiting_for: Callable[[], str] = lambda: ""
    ) -> None:
        """``waiting_for`` says what the worker lacks to judge; it sweeps nothing until that is empty."""
        self.handle = handle
        self.interval_s = interval_s
        self.waiting_for = waiting_for
        self.swept = asyncio.Event()
        self._refused: set[str] = set()
        self._again: set[str] = set()
        self._repo: BaseRepository | None = None
        self._bus: BaseBus | None = None

    @property
    def refused(self) -> int:
        """Sessions that failed alone; they stay untagged until the next start."""
        return len(self._refused)

    def attach(self, repo: BaseRepository, bus: BaseBus) -> None:
        """Says where the sessions are, and whose absence makes it look again."""
        self._repo, self._bus = repo, bus

    def again(self, sessions: Iterable[str]) -> None:
        """Sessions that lost their marks are judged once more at the next look, unless the stream was faster."""
        room = MAX_AGAIN - len(self._again)
        self._again.update(sorted(set(sessions) - self._again)[:room])

    async def run(self) -> None:
        """For ever; a database that is away is asked again at the next turn."""
        repo, bus = self._repo, self._bus
        if repo is None or bus is None:
            raise RuntimeError("attach() comes before run()")
        while True:
            if self.waiting_for():
                await asyncio.sleep(WAIT_LOOK_S)
                continue
            try:
                if not self.swept.is_set() or not bus.connected:
                    await self.sweep(repo)
                    self.swept.set()
                await self.sweep_again(repo)
            except DatabaseError as error:
                _log.warning("untagged sessions not read", reason=str(error))
            await asyncio.sleep(self.interval_s)

    async def sweep_again(self, repo: BaseRepository) -> None:
        """Judges the sessions of :meth:`again`; what is left of them beyond its bound waits for the next start."""
        while self._again:
            ids = sorted(self._again)[:_PAGE]
            await self._tag_each(repo, await repo.untagged_sessions(_PAGE, ids))
            self._again.difference_update(ids)

    async def sweep(self, repo: BaseRepository) -> int:
        """Tags all that is untagged now; returns the number of sessions.

        What the recorder adds meanwhile is not for the sweep: the stream delivers it to the worker.
        """
        done, left = 0, await repo.untagged_count()
        while done < left and (page := await self._page(repo)):
            await self._tag_each(repo, page)
            done += len(page)
        return done

    async def _tag_each(self, repo: BaseRepository, page: Sequence[EndedPayload]) -> None:
        events = [_as_event(payload) for payload in page]
        if events and not await self._tag(repo, events):
            for event in events:
                if not await self._tag(repo, [event]):
                    self._refused.add(str(event.payload["session_id"]))

    async def _page(self, repo: BaseRepository) -> list[EndedPayload]:
        rows = await repo.untagged_sessions(_PAGE + len(self._refused))
        return [row for row in rows if row["session_id"] not in self._refused][:_PAGE]

    async def _tag(self, repo: BaseRepository, events: Sequence[Event]) -> bool:
        """Whether the events took effect; a failure of the handler costs the page, then one session."""
        try:
            async with transaction(repo) as tx:
                await self.handle([received(event) for event in events], tx)
        except DatabaseError:
            raise
        except Exception:  # noqa: BLE001 - the bisecting boundary, as for batches from the bus
            _log.error("untagged sessions failed", sessions=len(events), exc_info=True)
            return False
        return True


def _as_event(payload: EndedPayload) -> Event:
    session = payload["session_id"]
    return Event(_TOPIC, dict(payload), "session.ended", event_id("ttp.sweep", session))
