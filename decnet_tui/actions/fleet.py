"""Changing the fleet: asking for a rotation and following it to its end; how often a decky rotates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from decnet.bus import topics
from decnet.config import Settings
from decnet.errors import BusError
from decnet.hostile import visible
from decnet_tui.actions.changes import Change, Outcome
from decnet_tui.actions.forms import Field, Form
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.feed import Feed
from decnet_tui.model.journal import End
from decnet_tui.model.keys import key
from decnet_tui.model.words import counted, services_text, span

if TYPE_CHECKING:
    from decnet.mutator.fleet import FleetSpec
    from decnet.mutator.rows import Tools

INTERVALS = ("inherit", "30m", "1h", "12h", "7d", "never")
INTERVAL = "decky.interval"


@dataclass
class Rotation(Change):
    """A request, followed by its id: requested, applying, then applied or failed; silence is UNKNOWN."""

    decky: str
    wait_s: float
    reason: str | None = None
    request_id: str = field(default_factory=lambda: uuid4().hex)
    stored: str = ""
    """The ``mutation_id`` once the request is a row: the mutator finds it there even if no bus tells it."""
    kind = "decky.mutate"

    @property
    def target(self) -> str:  # type: ignore[override]
        """The decky."""
        return self.decky

    @property
    def what(self) -> str:
        """The decky."""
        return f"rotate {self.decky}"

    def after(self) -> dict[str, Any]:
        """The request."""
        return {"request_id": self.request_id}

    async def send(self, session: Session) -> None:
        """Stores the request where there is a database, and publishes it. Raises BusError when neither worked."""
        if session.repo is not None:
            from decnet.mutator.queue import request_rotation  # here: the console starts without the planes

            self.stored = await request_rotation(
                session.repo,
                self.decky,
                requested_by=session.operator,
                reason=self.reason or "",
                request_id=self.request_id,
            )
        try:
            await self._publish(session)
        except BusError:
            if not self.stored:
                raise

    async def _publish(self, session: Session) -> None:
        payload = {
            "request_id": self.request_id,
            "requested_by": session.operator,
            "reason": self.reason or "",
        }
        topic = topics.decky(self.decky, topics.DECKY_MUTATE_REQUEST)
        await session.bus.publish(topic, payload, event_type="mutate_request", event_id=self.request_id)

    def reported(self, feed: Feed, sent_at: float) -> Outcome | None:
        """What ``decky.<name>.mutation`` with this request id says."""
        told = feed.mutations.get(self.request_id)
        if told is None:
            return None
        if told.get("outcome") == "applied":
            change = f"{services_text(told.get('old_services'))} -> {services_text(told.get('new_services'))}"
            return Outcome(End.VERIFIED, change)
        return Outcome(End.REFUTED, visible(told.get("reason") or "it failed", 300))

    def silence(self) -> Outcome:
        """Nobody knows; the request is a row and may still be served."""
        if not self.wait_s:
            return Outcome(End.SAVED, f"requested; view {key('view.fleet')} shows what becomes of it")
        return Outcome(
            End.UNKNOWN,
            f"no answer within {span(self.wait_s)}; view {key('view.fleet')} shows what becomes of it",
        )


class RotationForm(Form):
    """Why, after a clear word on whom it would cut off."""

    def __init__(self, row: Mapping[str, Any], mutator_age: str, wait_s: float) -> None:
        super().__init__([Field("reason", free=True)])
        self.row, self.age, self.wait_s = row, mutator_age, wait_s
        self.title = f"MUTATE {row['name']}"

    def effect(self) -> list[str]:
        """Sessions that would be cut, and whether anybody listens."""
        live = int(self.row.get("live") or 0)
        cut = (
            f"! {counted(live, 'live session')} would be CUT OFF" if live else "no live session would be cut"
        )
        return [
            f"{services_text(self.row.get('observed'))} now; {cut}",
            f"the mutator's last heartbeat is {self.age} old",
        ]

    def question(self) -> str:
        """What ``y`` does."""
        return f"rotate {self.row['name']} now"

    def change(self, now: float) -> Rotation:
        """The request."""
        return Rotation(str(self.row["name"]), self.wait_s, self.value("reason").strip() or None)


@dataclass
class IntervalChange(Change):
    """How often one decky rotates: ``30m``, ``12h``, ``never`` or ``inherit``."""

    decky: str
    every: str
    settings: Settings
    undoes: int | None = None
    kind = INTERVAL

    @property
    def target(self) -> str:  # type: ignore[override]
        """The decky."""
        return self.decky

    @property
    def what(self) -> str:
        """Decky and interval."""
        return f"{self.decky} rotates {self.every}"

    async def before(self, session: Session) -> dict[str, Any] | None:
        """The interval in effect now."""
        row = await need_store(session).decky_get(self.decky)
        return None if row is None else {"mutate_interval": row["mutate_interval"] or "inherit"}

    def after(self) -> dict[str, Any]:
        """The interval asked for."""
        return {"mutate_interval": self.every}

    async def send(self, session: Session) -> None:
        """Writes it. Raises FleetError for an unknown decky or a wrong interval."""
        from decnet.mutator.rows import Tools, set_interval  # here: the console starts without the planes

        await set_interval(need_store(session), self.decky, self.every, Tools.of(self.settings))

    async def held(self, session: Session) -> str:
        """Empty when the store holds it."""
        row = await need_store(session).decky_get(self.decky)
        stored = (row["mutate_interval"] or "inherit") if row else "no such decoy"
        return "" if stored == self.every else f"the store reads back {stored}"


@dataclass
class FleetApply(Change):
    """Makes the fleet what a file says; ``tools`` are :class:`decnet.mutator.rows.Tools`."""

    fleet: FleetSpec
    tools: Tools
    done: dict[str, Any] = field(default_factory=dict)
    """The names that were added, changed and removed, and those that stay as they are."""
    kind = "fleet.apply"

    @property
    def target(self) -> str:  # type: ignore[override]
        """The fleet."""
        return str(self.fleet.name)

    @property
    def what(self) -> str:
        """The fleet."""
        return f"fleet {self.target} applied"

    async def before(self, session: Session) -> dict[str, Any] | None:
        """The deckies that are wanted now."""
        rows = await need_store(session).deckies()
        return {"deckies": sorted(row["name"] for row in rows if row["wanted"])}

    def after(self) -> dict[str, Any]:
        """The deckies that the file names."""
        return {"deckies": sorted(decky.name for decky in self.fleet.deckies)}

    async def send(self, session: Session) -> None:
        """Writes it. Raises FleetError for a fleet that does not fit."""
        from decnet.mutator.rows import apply_fleet  # here: the console starts without the planes

        done = await apply_fleet(need_store(session), self.fleet, self.tools, actor=session.operator)
        self.done = {
            "fleet": self.fleet.name, "added": done.added, "changed": done.changed, "removed": done.removed,
            "unchanged": done.unchanged,
        }  # fmt: skip

    def reported(self, feed: Feed, sent_at: float) -> Outcome:
        """The rows are written; the deckies themselves follow."""
        moved = [
            f"{len(self.done[what])} {what}" for what in ("added", "changed", "removed") if self.done[what]
        ]
        return Outcome(End.SAVED, ", ".join(moved) or "nothing to change")


class IntervalForm(Form):
    """The interval."""

    def __init__(self, row: Mapping[str, Any], settings: Settings) -> None:
        super().__init__([Field("every", row.get("mutate_interval") or "inherit", choices=INTERVALS)])
        self.row, self.settings = row, settings
        self.title = f"INTERVAL {row['name']}"

    def effect(self) -> list[str]:
        """What is in effect now."""
        return [
            f"now {self.row.get('mutate_interval') or 'inherit'}; write another one such as 45m, or choose"
        ]

    def question(self) -> str:
        """What ``y`` does."""
        return f"rotate {self.row['name']} {self.value('every')}"

    def change(self, now: float) -> IntervalChange:
        """The change. Raises ValueError for an empty interval."""
        every = self.value("every").strip().lower()
        if not every:
            raise ValueError("an interval: 30m, 12h, 7d, never or inherit")
        return IntervalChange(str(self.row["name"]), every, self.settings)


def undo(entry: Mapping[str, Any]) -> Change:
    """Back to the interval before."""
    before = str((entry["before"] or {}).get("mutate_interval") or "inherit")
    return IntervalChange(str(entry["target"]), before, Settings(), undoes=entry["id"])
