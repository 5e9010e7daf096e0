"""Changing workers: control (stop, start, restart, pause, resume) and trying a dead letter again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from decnet.bus import topics
from decnet.bus.base import BaseBus, Event
from decnet.bus.nats.store import DUPLICATE_WINDOW_S
from decnet.errors import DecnetError, MalformedEvent
from decnet.hostile import visible
from decnet_tui.actions.changes import Change, Outcome
from decnet_tui.actions.forms import Field, Form
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.feed import Feed
from decnet_tui.model.journal import End
from decnet_tui.model.words import counted, span

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.runtime import DeadLetterLine

ACTIONS = ("stop", "start", "restart", "pause", "resume")
_EXPECTED = {"stop": ("stopped",), "pause": ("paused",)}
_AWAKE = ("ok", "degraded", "waiting_for_bus", "waiting_for_database", "waiting_for_rules")
CONTROL_WAIT_S = 15.0
"""Seconds that a worker may take to obey; a running batch ends first."""


@dataclass
class WorkerControl(Change):
    """Asks one worker to stop, start, restart, pause or resume."""

    worker: str
    action: str
    kind = "worker.control"
    wait_s = CONTROL_WAIT_S

    @property
    def target(self) -> str:  # type: ignore[override]
        """The worker."""
        return self.worker

    @property
    def what(self) -> str:
        """Worker and action."""
        return f"{self.worker} {self.action}"

    def after(self) -> dict[str, Any]:
        """The action."""
        return {"action": self.action}

    async def send(self, session: Session) -> None:
        """Publishes the request. Raises BusError."""
        payload = {"action": self.action, "requested_by": session.operator, "ts": time.time()}
        await session.bus.publish(topics.system_control(self.worker), payload, event_type="control")

    def reported(self, feed: Feed, sent_at: float) -> Outcome | None:
        """Verified by the first heartbeat after the request that shows the state asked for."""
        model = feed.workers.get(self.worker)
        if model is None or float(model.payload.get("ts") or model.seen_at) < sent_at:
            return None
        state = str(model.payload.get("state") or "ok")
        if state in _EXPECTED.get(self.action, _AWAKE):
            return Outcome(End.VERIFIED, f"its heartbeat says {visible(state, 40)}")
        return None

    def silence(self) -> Outcome:
        """No heartbeat said so in time: nobody knows."""
        return Outcome(End.UNKNOWN, f"no heartbeat showed it within {span(self.wait_s)}")


class WorkerForm(Form):
    """The choice of what a worker shall do."""

    def __init__(self, worker: str, state: str, lag: Any, action: str = "") -> None:
        action = action or {"stopped": "start", "paused": "resume"}.get(state, "restart")
        self.worker, self.state, self.lag = worker, state, lag
        self.title = f"WORKER {worker}"
        super().__init__([Field("action", action, choices=ACTIONS)])

    def effect(self) -> list[str]:
        """Its state now, and what waits for it."""
        return [
            f"it is {self.state} now; {counted(self.lag, 'event')} {'waits' if self.lag == 1 else 'wait'} for it"
        ]

    def question(self) -> str:
        """What ``y`` does."""
        return f"{self.value('action')} {self.worker}"

    def change(self, now: float) -> WorkerControl:
        """The request. Raises ValueError for an unknown action."""
        action = self.value("action").strip().lower()
        if action not in ACTIONS:
            raise ValueError(f"there are {', '.join(ACTIONS)}")
        if self.state == "stopped" and action in ("pause", "resume"):
            raise ValueError("it is stopped: start it first")
        return WorkerControl(self.worker, action)


@dataclass
class LetterRetry(Change):
    """Puts a dead letter on the bus again and forgets it; a new failure makes a new letter."""

    letter: DeadLetterLine
    kind = "deadletter.retry"

    @property
    def target(self) -> str:  # type: ignore[override]
        """The letter's id."""
        return str(self.letter["id"])

    @property
    def what(self) -> str:
        """Letter, worker and topic."""
        return f"dead letter {self.target} of {self.letter['worker']} again"

    def after(self) -> dict[str, Any]:
        """Where it goes."""
        return {"topic": self.letter["topic"], "worker": self.letter["worker"]}

    async def send(self, session: Session) -> None:
        """Publishes, then deletes. Raises DecnetError for a letter that is gone or no event."""
        repo = need_store(session)
        await retry_letter(repo, session.bus, int(self.letter["id"]))

    def reported(self, feed: Feed, sent_at: float) -> Outcome | None:
        """Refuted when the worker gives it up again."""
        for at, payload in feed.dead_letters:
            same = payload.get("topic") == self.letter["topic"]
            if at >= sent_at and same and payload.get("worker") == self.letter["worker"]:
                return Outcome(End.REFUTED, f"it failed again: {visible(payload.get('reason'), 120)}")
        return None

    def silence(self) -> Outcome:
        """No new failure; success is not announced."""
        waited = f"; no new failure within {span(self.wait_s)}" if self.wait_s else ""
        return Outcome(End.SAVED, f"it is on the bus again{waited}")


async def retry_letter(repo: BaseRepository, bus: BaseBus, letter_id: int) -> str:
    """Puts one dead letter on the bus again, under its own id, and deletes it; its topic.

    The id stays, since ids of tags may be derived from it. Raises DecnetError when the letter is gone, is an
    element or no event, or is so young that the broker would take it for a duplicate; BusError when it was not stored.
    """
    letter = await repo.dead_letter_get(letter_id)
    if letter is None:
        raise DecnetError(f"no dead letter {letter_id}: see `decnet-tui deadletters`")
    if letter["path"] is not None:
        raise DecnetError(
            f"dead letter {letter_id} is one element, {visible(letter['path'], 80)}, of an event whose rest was kept: "
            "there is nothing to publish again; what its producer sends anew in a form that can be read is taken"
        )
    try:
        event = Event.from_bytes(letter["topic"], letter["body"])
    except MalformedEvent as error:
        raise DecnetError(f"dead letter {letter_id} is no event and never will be: {error}") from error
    wait = DUPLICATE_WINDOW_S - (time.time() - letter["ts"].timestamp())
    if wait > 0:
        raise DecnetError(f"the broker still knows dead letter {letter_id}: try again in {span(wait)}")
    await bus.publish_events([event])
    await repo.dead_letter_delete(letter_id)
    return letter["topic"]
