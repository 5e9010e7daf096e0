"""Operations on a topology: sent through the queue like every change of the fleet, followed to their end by id."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from decnet.hostile import visible
from decnet_tui.actions.changes import Change, Outcome
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.feed import Feed
from decnet_tui.model.journal import End
from decnet_tui.model.keys import key
from decnet_tui.model.words import span

if TYPE_CHECKING:
    from decnet.mutator.rows import Tools


@dataclass
class TopologyOp(Change):
    """One operation: checked when it is enqueued, then applying, then applied or failed; silence is UNKNOWN.

    ``tools`` are :class:`decnet.mutator.rows.Tools`, ``payload`` is the operation's own.
    """

    topology_id: str
    op: str
    name: str
    payload: dict[str, Any]
    tools: Tools
    wait_s: float
    reason: str | None = None
    stored: str = field(default="", init=False)
    """The ``mutation_id`` once the operation is a row."""
    kind = "topology.op"

    @property
    def target(self) -> str:  # type: ignore[override]
        """The fleet, and the decky or network in it."""
        return f"{self.topology_id}/{self.name}"

    @property
    def what(self) -> str:
        """Fleet, operation, target."""
        return f"fleet {self.topology_id}: {self.op} {self.name}"

    def after(self) -> dict[str, Any]:
        """The operation."""
        return {"op": self.op, "payload": self.payload}

    async def send(self, session: Session) -> None:
        """Checks and enqueues it. Raises FleetError that says everything wrong with it."""
        from decnet.mutator.queue import enqueue_op  # here: the console starts without the planes

        self.stored = await enqueue_op(
            need_store(session),
            self.topology_id,
            self.op,
            self.name,
            self.payload,
            self.tools,
            requested_by=session.operator,
            reason=self.reason or "",
        )

    async def held(self, session: Session) -> str:
        """Empty when the queue holds it."""
        row = await need_store(session).mutation_get(self.stored)
        return "" if row is not None and row["kind"] == self.op else "the queue does not hold it"

    def reported(self, feed: Feed, sent_at: float) -> Outcome | None:
        """What ``topology.<id>.mutation.applied`` or ``.failed`` with this id says."""
        told = feed.topology_ops.get(self.stored)
        if told is None:
            return None
        if told.get("outcome") == "applied":
            return Outcome(End.VERIFIED)
        return Outcome(End.REFUTED, visible(told.get("reason") or "it failed", 300))

    def silence(self) -> Outcome:
        """Nobody knows; the operation is a row and may still be served."""
        if not self.wait_s:
            return Outcome(End.SAVED, f"enqueued; view {key('view.fleet')} shows what becomes of it")
        return Outcome(
            End.UNKNOWN,
            f"no answer within {span(self.wait_s)}; view {key('view.fleet')} shows what becomes of it",
        )
