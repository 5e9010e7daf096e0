"""The engine as a program from which one guard was taken away, or that dies at a named place; for controls.

    python -m tests.fault.without [--without GUARD] [--die PLACE] [--truth FILE] -- ARGUMENTS OF decnet-tui

Each guard is taken away as somebody would forget it. A death is a SIGKILL of the process by itself, in the second batch
that comes to the place: what it does there is in the hands of nobody.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from decnet.bus.base import Delivery
from decnet.db.repository.runtime.work import WorkMixin
from decnet.runtime import batch as batches
from decnet.runtime.batch import BatchProcessor
from decnet.runtime.relay import OutboxRelay
from decnet.runtime.supervisor import Supervisor
from decnet.runtime.worker import TxBus
from decnet.ttp.store.base import RuleChange, RuleStore
from decnet.ttp.store.impl.database import DatabaseRuleStore

TIMES = 2
"""Which batch at a place is the last one."""


def _ack_first() -> None:
    """An event is acknowledged when it comes, not when its effect is committed."""
    process = BatchProcessor.process

    async def hasty(self: BatchProcessor, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            await delivery.ack()
        await asyncio.sleep(0.2)  # the client says it a little later
        await process(self, deliveries)

    BatchProcessor.process = hasty  # type: ignore[method-assign]


def _drawn_ids() -> None:
    """The id of a tag is drawn, not derived from what it is about."""
    from decnet.ttp import rule_engine

    rule_engine.tag_id = lambda *_: str(uuid4())  # type: ignore[assignment]


def _outbox_forgotten() -> None:
    """News leave the outbox when they are taken, not when the broker has them."""
    take = WorkMixin.outbox_take

    async def taken(self: Any, limit: int) -> list[Any]:
        rows = await take(self, limit)
        await self.outbox_delete([row for row, _ in rows])
        return rows

    WorkMixin.outbox_take = taken  # type: ignore[method-assign]


def _news_at_once() -> None:
    """News go out while the transaction is still open."""
    buses: list[Any] = []
    start, publish = Supervisor.start, TxBus.publish

    async def started(self: Supervisor) -> None:
        buses.append(self.bus)
        await start(self)

    async def hasty(self: TxBus, *args: Any, **more: Any) -> None:
        await publish(self, *args, **more)
        await buses[0].publish_events([self.events.pop()])

    Supervisor.start = started  # type: ignore[method-assign]
    TxBus.publish = hasty  # type: ignore[method-assign]


def _outage_is_a_failure() -> None:
    """A database without room counts against the event that was to be written."""
    batches._is_outage = lambda error: False


def _states_not_followed() -> None:
    """What others said of a rule is not taken over."""

    async def never(self: DatabaseRuleStore, *_: Any) -> None:
        return

    DatabaseRuleStore._take_state = never  # type: ignore[method-assign]


GUARDS: dict[str, Callable[[], None]] = {
    "ack-after-commit": _ack_first,
    "derived-ids": _drawn_ids,
    "outbox-until-stored": _outbox_forgotten,
    "news-after-commit": _news_at_once,
    "outage-is-no-failure": _outage_is_a_failure,
    "states-followed": _states_not_followed,
}
_PLACES: dict[str, tuple[Any, str]] = {
    "handled": (BatchProcessor, "_forget_failures"),
    "committed": (BatchProcessor, "_done"),
    "taken": (OutboxRelay, "_publish"),
}
"""Name → the method at whose beginning it is: effects written and not committed; committed and not acknowledged;

news taken from the outbox and not published.
"""


def die_at(place: str) -> None:
    """The process kills itself there; ``WORKER.PLACE`` counts the batches of that worker only."""
    worker, _, name = place.rpartition(".")
    owner, method = _PLACES[name]
    inner, left = getattr(owner, method), [TIMES]

    async def last(self: Any, *args: Any) -> Any:
        if not worker or self.worker.name == worker:
            left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return await inner(self, *args)

    setattr(owner, method, last)


def tell_truth(file: Path) -> None:
    """Each change of a rule that the engine takes over is a line of the file: when, which rule, which state."""
    announce = RuleStore._announce

    def told(self: RuleStore, change: RuleChange, **more: Any) -> None:
        announce(self, change, **more)
        line = {"at": time.time(), "rule": change.rule_id, "state": getattr(change.new_value, "state", None)}
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")

    RuleStore._announce = told  # type: ignore[method-assign]


def main() -> None:
    """The command; see the module's text."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--without", choices=GUARDS)
    parser.add_argument("--die")
    parser.add_argument("--truth", type=Path)
    end = sys.argv.index("--")
    args = parser.parse_args(sys.argv[1:end])
    if args.without:
        GUARDS[args.without]()
    if args.die:
        die_at(args.die)
    if args.truth:
        tell_truth(args.truth)
    from decnet_tui.cli.main import run

    sys.argv = ["decnet-tui", *sys.argv[end + 1 :]]
    run()


if __name__ == "__main__":
    main()
