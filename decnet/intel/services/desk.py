"""Questions to the services that are turned on: what may be asked, when, once for all who ask at the same time.

With every service off there is nobody to ask and nothing is opened. Where budgets and answers are kept over restarts is
left to whoever gives ``keep`` and the rows, what becomes of an answer to whoever asks.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from ipaddress import ip_address, ip_network
from typing import Any, Final, NamedTuple

from decnet.addresses import fold
from decnet.config import Settings
from decnet.intel.services.base import Answer, AnswerFault, Kind, Value
from decnet.intel.services.catalogue import SERVICES
from decnet.intel.services.client import Client
from decnet.intel.services.governor import Governor, Known, Not, Rows
from decnet.intel.services.values import NOT_ASKED, Unaskable, host_of, value_of

AT_ONCE: Final = 2
"""Questions to one service at the same time."""
Keep = Callable[[Rows], Awaitable[None]]


class Outcome(NamedTuple):
    """What came of a question: an answer and when it was given (epoch seconds), or why there is none.

    ``why`` is a reason of :data:`decnet.intel.services.base.REASONS`, of :class:`.governor.Not` or of
    :data:`decnet.intel.services.values.NOT_ASKED`; empty with an answer.
    """

    service: str
    answer: Answer | None
    at: float | None
    why: str


class Desk:
    """The services of some settings; close it in the end."""

    def __init__(
        self,
        settings: Settings,
        keep: Keep,
        rows: Rows | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        own = {name: getattr(settings, name) for name in SERVICES}
        on = {name: section for name, section in own.items() if section.enabled}
        self.names: Final = tuple(on)
        """The services that are turned on."""
        self._keep = keep
        self._clients = {name: Client(SERVICES[name], section, clock) for name, section in on.items()}
        self._governor = Governor({name: one.daily_budget for name, one in on.items()}, clock, rows)
        self._room = {name: asyncio.Semaphore(AT_ONCE) for name in on}
        self._running: dict[tuple[str, Value], asyncio.Task[Outcome]] = {}
        self._not_asked: Counter[str] = Counter()
        self._own = [ip_network(text, strict=False) for text in settings.intel.own_networks]

    def take(self, rows: Rows) -> None:
        """Budgets and answers as they are kept now: others may have asked since."""
        self._governor.take(rows)

    def until(self, name: str) -> float | None:
        """Until when (epoch seconds) a service that is on is not asked at all; None when it can be asked now."""
        return self._governor.until(name)

    def knows(self, name: str, value: Value) -> bool:
        """Whether an answer is at hand that still counts; ``value`` is what the service itself is asked about."""
        return self._governor.knows(name, value)

    async def ask(self, kind: Kind, text: str, only: str | None = None) -> list[Outcome]:
        """What every service says that is on and can be asked about such a thing, or ``only`` the one of a name.

        Raises what ``keep`` raises: a question that cannot be counted is not sent.
        """
        if not self.names:
            return []
        try:
            value = self.askable(kind, text)
        except Unaskable as error:
            return [Outcome(name, None, None, error.reason) for name in self._asked_about(kind, only)]
        names = self._asked_about(value.kind, only)
        return list(await asyncio.gather(*(self._one(name, value) for name in names)))

    def askable(self, kind: Kind, text: str) -> Value:
        """Something as it is asked about. Raises Unaskable for what stays here, and counts it."""
        try:
            return self._outside(value_of(kind, text))
        except Unaskable as error:
            self.passed_over(error.reason)
            raise

    def passed_over(self, reason: str) -> None:
        """Counts something that is not asked about, for a reason of :data:`decnet.intel.services.values.NOT_ASKED`."""
        self._not_asked[reason] += 1

    def _outside(self, value: Value) -> Value:
        """A value that is not about the operator's own networks. Raises Unaskable."""
        address = fold(host_of(value) or "")
        if address is not None and any(ip_address(address) in network for network in self._own):
            raise Unaskable("own_network")
        return value

    async def give_up(self) -> None:
        """Ends what is under way, also what only waits for its turn; what was counted stays counted."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """Gives up what is under way and ends all connections."""
        await self.give_up()
        for client in self._clients.values():
            await client.close()

    def health(self) -> dict[str, Any]:
        """Counters by service, and what was not asked about at all, by reason."""
        return {
            "services": self._governor.health(),
            "not_asked": {reason: self._not_asked[reason] for reason in NOT_ASKED},
        }

    def _asked_about(self, kind: Kind, only: str | None) -> list[str]:
        return [name for name in self.names if kind in SERVICES[name].kinds and only in (None, name)]

    async def _one(self, name: str, value: Value) -> Outcome:
        """One answer for all who ask the same at the same time; who goes away takes it from nobody else."""
        service = SERVICES[name]
        key = (name, service.asks(value))
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._question(*key))
            task.add_done_callback(lambda done: self._running.pop(key, None))
        found = await asyncio.shield(task)
        return found if found.answer is None else found._replace(answer=service.pick(found.answer, value))

    async def _question(self, name: str, value: Value) -> Outcome:
        async with self._room[name]:  # decided when it is its turn: the one before may have been told to wait
            decision = self._governor.decide(name, value)
            if isinstance(decision, Known):
                return Outcome(name, decision.answer, decision.at, "")
            if isinstance(decision, Not):
                return Outcome(name, None, None, decision.why)
            try:
                await self._keep_changes()  # counted before it goes out: a crash gives no second budget
                answer = await self._clients[name].ask(value)
            except AnswerFault as fault:
                self._governor.failed(decision, fault.reason, fault.retry_after)
                outcome = Outcome(name, None, None, fault.reason)
            except BaseException:
                self._governor.given_up(decision)
                raise
            else:
                outcome = Outcome(name, answer, self._governor.answered(decision, answer), "")
            await self._keep_changes()
            return outcome

    async def _keep_changes(self) -> None:
        rows = self._governor.changed()
        await self._keep(rows)
        self._governor.kept(rows)
