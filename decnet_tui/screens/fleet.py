"""Fleet: the decoys, what they should run and what they really run, and the mutation in flight."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from decnet.db.rows.fleet import DeckyRow, MutationRow
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.feed import Feed
from decnet_tui.model.keys import key
from decnet_tui.model.words import clock, counted, services_text, span
from decnet_tui.screens.table import Column, TableView
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.states import Shown, decoy_state

LIVE_S = 3600.0
"""A session that began this long ago and has not ended counts as live."""
MAX_MUTATIONS = 200
HISTORY = 10
DRY_RUN = "dry_run"
_IN_FLIGHT = ("enqueued", "pending", "applying")
OPS = frozenset(
    {
        "add_decky",
        "remove_decky",
        "update_decky",
        "add_network",
        "remove_network",
        "attach_decky",
        "detach_decky",
    }
)
"""Kinds of changes of the wiring; the console starts without the planes, a test compares them."""


class DeckyLine(DeckyRow):
    """A decky with its sessions: those in all, and those that are live."""

    hits: int
    live: int


class FleetView(TableView[DeckyLine]):
    """The deckies by name."""

    name = "fleet"
    title = "Fleet"
    key = "5"
    says = "Fleet: decoys, their services, rotations"
    unit = "decoys"
    stored = True
    roots = ("decky", "topology")

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.history: dict[str, list[MutationRow]] = {}
        self.operations: dict[str, list[MutationRow]] = {}
        """What was changed in the wiring of each fleet, newest first."""
        self.columns = (
            Column("name", "decoy", 12),
            Column("address", "address", 14),
            Column("services", "services", 16, text=_services, grow=True),
            Column("state", "state", 11, text=lambda r: self._state(r)[0], style=lambda r: self._state(r)[1]),
            Column("hits", "hits", 5, right=True),
            Column("last_mutated", "last", 6, text=lambda r: _ago(r["last_mutated"]), right=True),
            Column("next_due", "next", 6, text=_until, right=True),
            Column("substrate", "by", 10, wide=True),
            Column("archetype", "archetype", 16, wide=True),
        )

    def row_key(self, row: DeckyLine) -> Any:
        """The decky's name."""
        return row["name"]

    async def fetch(self, session: Session) -> tuple[list[DeckyLine], list[MutationRow]]:
        """Deckies, live sessions and hits, the newest mutations. Raises what the store raises."""
        repo = need_store(session)
        rows = [row for row in await repo.deckies() if row["wanted"] or row["observed"]]
        hits = await repo.sessions_by_decky() if rows else {}
        live = await repo.live_by_decky(time.time() - LIVE_S) if rows else {}
        lines: list[DeckyLine] = [
            {**r, "hits": hits.get(r["name"], 0), "live": live.get(r["name"], 0)} for r in rows
        ]
        return lines, await repo.mutations(limit=MAX_MUTATIONS)

    def load(self, data: Any) -> None:
        """Rows, and each decky's history."""
        rows, mutations = data
        self.history, self.operations = {}, {}
        for mutation in mutations:
            self.history.setdefault(str(mutation["target"]), []).append(mutation)
            if mutation["kind"] in OPS:
                self.operations.setdefault(str(mutation["topology_id"]), []).append(mutation)
        self.fill(rows)

    def in_flight(self, row: DeckyLine) -> MutationRow | None:
        """The mutation of a decky that is not done."""
        return next((m for m in self.history.get(str(row["name"]), ()) if m["state"] in _IN_FLIGHT), None)

    def _state(self, row: DeckyLine) -> Shown:
        flags = {"runs": bool(row["observed"]), "pending": row["pending"], "failing": bool(row["failures"])}
        dry = row["substrate"] == DRY_RUN
        return decoy_state(row["state"], **flags, mutating=self.in_flight(row) is not None, dry=dry)

    def gutter(self, index: int) -> str:
        """A decky whose change failed."""
        return glyphs.current().stale if self.rows[index]["failures"] else super().gutter(index)

    def unfilled(self) -> list[str]:
        """No fleet."""
        return [
            "No decoys yet.",
            "decnet-tui fleet apply FILE makes some; decnet-tui fleet setup installs OpenCanary for them.",
        ]

    def about(self) -> str:
        """What can be done."""
        return f"{key('decky.mutate')} mutates  {key('decky.interval')} interval"

    def row_detail(self, row: DeckyLine) -> list[str]:
        """Desired and observed, why, then the history."""
        lines = [
            f"{row['name']}  {row['archetype'] or 'own pool'}  {row['substrate']}  {row['address']}",
            f"runs     {services_text(row['observed'])}",
            f"should   {services_text(row['desired'])}" + (f"  pinned {services_text(row['pinned'])}" if row["pinned"] else ""),
            f"pool     {services_text(row['pool'])}",
            f"ports    {' '.join(f'{k}={v}' for k, v in (row['ports'] or {}).items()) or '-'}",
            f"rotates  {row['mutate_interval'] or 'as its fleet'}; last {_stamp(row['last_mutated'])}, next {_stamp(row['next_due'])}",
            f"{counted(row['live'], 'live session')}, {counted(row['hits'], 'session')} in all",
        ]  # fmt: skip
        if row["reason"]:
            lines.append(
                f"! {row['reason']}" + (f"; tried again {_stamp(row['retry_at'])}" if row["retry_at"] else "")
            )
        return [*lines, "", "rotations, newest first:", *self._render_history(row), *self._rewired(row)]

    def _rewired(self, row: DeckyLine) -> list[str]:
        told = [
            f"  {_stamp(op['created_at'])} {op['kind']} {op['target']} {op['state']}"
            + (f" by {op['requested_by']}" if op["requested_by"] else "")
            + (f": {op['reason']}" if op["reason"] else "")
            for op in self.operations.get(str(row["topology_id"]), ())[:HISTORY]
        ]
        return ["", f"fleet {row['topology_id']}, changes newest first:", *told] if told else []

    def _render_history(self, row: DeckyLine) -> list[str]:
        told = []
        rotations = [m for m in self.history.get(str(row["name"]), ()) if m["kind"] not in OPS]
        for mutation in rotations[:HISTORY]:
            outcome = mutation["outcome"] or {}
            change = (
                f" {services_text(outcome.get('old'))} -> {services_text(outcome.get('new'))}"
                if outcome.get("new")
                else ""
            )
            by = f" by {mutation['requested_by']}" if mutation["requested_by"] else ""
            why = f": {mutation['reason']}" if mutation["reason"] else ""
            told.append(
                f"  {_stamp(mutation['created_at'])} {mutation['state']} ({mutation['trigger']}{by}){change}{why}"
            )
        return told or ["  none"]


def _services(row: DeckyLine) -> str:
    """What runs; what should run beside it, where the two differ."""
    runs, should = list(row["observed"] or ()), list(row["desired"] or ())
    return (
        services_text(runs)
        if sorted(runs) == sorted(should)
        else f"{services_text(runs)} -> {services_text(should)}"
    )


def _ago(moment: datetime | None) -> str:
    return span(time.time() - moment.timestamp()) if moment else "-"


def _until(row: DeckyLine) -> str:
    return span(row["next_due"].timestamp() - time.time()) if row["next_due"] else "-"


def _stamp(moment: datetime | None) -> str:
    return f"{clock(moment.timestamp(), 'date')}Z" if moment else "never"
