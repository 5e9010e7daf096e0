"""Fleet: the decoys, what they should run and what they really run, the mutation in flight; canary tokens and their trips."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias, cast

from decnet.db.rows.canary import is_foreign
from decnet.db.rows.fleet import DeckyRow, MutationRow
from decnet.durations import parse_duration
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.event_text import short
from decnet_tui.model.feed import Feed
from decnet_tui.model.keys import key
from decnet_tui.model.tokens import TokenLine, token_lines
from decnet_tui.model.words import clock, counted, services_text, span
from decnet_tui.screens.base import Place
from decnet_tui.screens.table import Column, TableView
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.states import Shown, decoy_state, token_state

LIVE_S = 3600.0
"""A session that began this long ago and has not ended counts as live."""
MAX_MUTATIONS, MAX_TRIGGERS, MAX_READS = 200, 500, 500
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
    """A decky with its sessions: those in all, and those that are live; and the interval that counts for it."""

    hits: int
    live: int
    every: str


class Read(NamedTuple):
    """What one read of the store brings."""

    decoys: list[DeckyLine]
    mutations: list[MutationRow]
    tokens: list[TokenLine]


FleetLine: TypeAlias = DeckyLine | TokenLine
"""A line: a decoy, or a canary token, which has a ``token_id``."""


def decoy_of(row: FleetLine | None) -> DeckyLine | None:
    """The decoy that a line is of; None for a token."""
    return None if row is None or "token_id" in row else row


def token_of(row: FleetLine | None) -> TokenLine | None:
    """The token that a line is of; None for a decoy."""
    return cast("TokenLine", row) if row is not None and "token_id" in row else None


class FleetView(TableView[Mapping[str, object]]):
    """The deckies by name, then the canary tokens, those set off last first."""

    name = "fleet"
    title = "Fleet"
    key = "5"
    says = "Fleet: decoys, their services, rotations; canary tokens"
    unit = "decoys and tokens"
    stored = True
    roots = ("decky", "topology", "canary")

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.history: dict[str, list[MutationRow]] = {}
        self.operations: dict[str, list[MutationRow]] = {}
        """What was changed in the wiring of each fleet, newest first."""
        self.columns = (
            Column("name", "decoy", 12, text=lambda r: str(r["name"])),
            Column(
                "address", "address", 14, text=lambda r: str(r.get("address") or r.get("decky_id") or "-")
            ),
            Column("services", "services", 16, text=_services, grow=True),
            Column("state", "state", 11, text=lambda r: self._shown(r)[0], style=lambda r: self._shown(r)[1]),
            Column("hits", "hits", 5, text=lambda r: str(_hits(r)), sort=_hits, right=True),
            Column("last", "last", 6, text=lambda r: _ago(_last(r)), sort=_last, right=True),
            Column("next_due", "next", 6, text=_until, right=True),
            Column("substrate", "by", 10, wide=True),
            Column("archetype", "archetype", 16, wide=True),
        )

    def row_key(self, row: Mapping[str, object]) -> Any:
        """The decky's name, the token's id."""
        return row["name"]

    async def fetch(self, session: Session) -> Read:
        """Deckies, live sessions and hits, the newest mutations; tokens with their last trips. Raises what the store raises."""
        repo = need_store(session)
        rows = [row for row in await repo.deckies() if row["wanted"] or row["observed"]]
        hits = await repo.sessions_by_decky() if rows else {}
        live = await repo.live_by_decky(time.time() - LIVE_S) if rows else {}
        fleets = (
            {row["topology_id"]: row["mutate_interval"] for row in await repo.topologies()} if rows else {}
        )
        lines: list[DeckyLine] = [
            {
                **r,
                "hits": hits.get(r["name"], 0),
                "live": live.get(r["name"], 0),
                "every": r["mutate_interval"] or fleets.get(r["topology_id"], ""),
            }
            for r in rows
        ]
        tokens = await repo.canary_tokens()
        triggers = await repo.canary_triggers(limit=MAX_TRIGGERS) if tokens else []
        reads = await repo.bait_reads(limit=MAX_READS) if tokens else []
        return Read(lines, await repo.mutations(limit=MAX_MUTATIONS), token_lines(tokens, triggers, reads))

    def load(self, data: Read) -> None:
        """Rows, and each decky's history."""
        self.history, self.operations = {}, {}
        for mutation in data.mutations:
            self.history.setdefault(str(mutation["target"]), []).append(mutation)
            if mutation["kind"] in OPS:
                self.operations.setdefault(str(mutation["topology_id"]), []).append(mutation)
        self.fill([*data.decoys, *data.tokens])

    def decoy(self, name: str) -> DeckyLine | None:
        """A decoy by its name, shown or not."""
        return decoy_of(cast("FleetLine | None", self.find(name)))

    @property
    def decoy_here(self) -> DeckyLine | None:
        """The decoy under the cursor; None on a token."""
        return decoy_of(cast("FleetLine | None", self.current))

    def names(self) -> list[str]:
        """The decoys by name, shown or not."""
        return [str(row["name"]) for row in self._all if "token_id" not in row]

    def _shown(self, row: Mapping[str, object]) -> Shown:
        token, decoy = token_of(cast("FleetLine", row)), decoy_of(cast("FleetLine", row))
        return token_state(token["state"]) if token is not None else self._state(cast("DeckyLine", decoy))

    def in_flight(self, row: DeckyLine) -> MutationRow | None:
        """The mutation of a decky that is not done."""
        return next((m for m in self.history.get(str(row["name"]), ()) if m["state"] in _IN_FLIGHT), None)

    def _state(self, row: DeckyLine) -> Shown:
        flags = {"runs": bool(row["observed"]), "pending": row["pending"], "failing": bool(row["failures"])}
        dry = row["substrate"] == DRY_RUN
        return decoy_state(row["state"], **flags, mutating=self.in_flight(row) is not None, dry=dry)

    def gutter(self, index: int) -> str:
        """A decky whose change failed, a token that was set off."""
        row = self.rows[index]
        bad = row.get("failures") or row.get("state") == "tripped"
        return glyphs.current().stale if bad else super().gutter(index)

    def leads_to(self) -> Place | None:
        """Of a token that was set off: the session in which it came back, else who did it."""
        token = token_of(cast("FleetLine | None", self.current))
        where = (token["session_id"] or token["attacker_ip"]) if token is not None else None
        return Place("actors", where) if where else None

    def unfilled(self) -> list[str]:
        """No fleet."""
        return [
            "No decoys yet.",
            "decnet-tui fleet apply FILE makes some; decnet-tui fleet setup installs OpenCanary for them.",
            "decnet-tui canary mint KIND --decky NAME makes a canary token.",
        ]

    def about(self) -> str:
        """Whether tokens were set off, and why the decoy under the cursor is changed next when it is."""
        tripped = sum(row.get("state") == "tripped" for row in self._all)
        told = f"{counted(tripped, 'token')} set off  " if tripped else ""
        decoy = self.decoy_here
        why = _why_then(decoy) if decoy is not None else ""
        return (
            f"{told}next {why}"
            if why
            else f"{told}{key('decky.mutate')} mutates  {key('decky.interval')} interval"
        )

    def row_detail(self, row: Mapping[str, object]) -> list[str]:
        """Of a decoy desired and observed, why, then the history; of a token where it lies and who set it off."""
        decoy, token = decoy_of(cast("FleetLine", row)), token_of(cast("FleetLine", row))
        if token is not None:
            return _token_lines(token)
        return self._decoy_lines(decoy) if decoy is not None else []

    def _decoy_lines(self, row: DeckyLine) -> list[str]:
        lines = [
            f"{row['name']}  {row['archetype'] or 'own pool'}  {row['substrate']}  {row['address']}",
            f"runs     {services_text(row['observed'])}",
            f"should   {services_text(row['desired'])}" + (f"  pinned {services_text(row['pinned'])}" if row["pinned"] else ""),
            f"pool     {services_text(row['pool'])}",
            f"ports    {' '.join(f'{k}={v}' for k, v in (row['ports'] or {}).items()) or '-'}",
            f"rotates  {row['mutate_interval'] or 'as its fleet'}; last {_stamp(row['last_mutated'])}, next {_stamp(row['next_due'])}{f' ({why})' if (why := _why_then(row)) else ''}",
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


def _services(row: Mapping[str, object]) -> str:
    """What runs; what should run beside it, where the two differ. Of a token what it is and where it lies,
    which of one of another service's only its memo says.
    """
    if (token := token_of(cast("FleetLine", row))) is not None:
        if is_foreign(token["kind"]):
            return f"{token['memo'] or 'no memo'} ({token['kind']})"
        return f"{token['kind']} token {token['path'] or ''}".rstrip()
    runs, should = _texts(row["observed"]), _texts(row["desired"])
    return (
        services_text(runs)
        if sorted(runs) == sorted(should)
        else f"{services_text(runs)} -> {services_text(should)}"
    )


def _texts(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, (list, tuple)) else []


def _hits(row: Mapping[str, object]) -> int:
    """Sessions of a decoy, trips of a token."""
    count = row.get("trips") if "token_id" in row else row.get("hits")
    return count if isinstance(count, int) else 0


def _last(row: Mapping[str, object]) -> datetime | None:
    """The last mutation of a decoy, the last trip of a token."""
    moment = row.get("last_trip_at") if "token_id" in row else row.get("last_mutated")
    return moment if isinstance(moment, datetime) else None


def _why_then(row: DeckyLine) -> str:
    """Why the next rotation is at that moment: how far chance moved it from its interval."""
    last, due = row["last_mutated"], row["next_due"]
    try:
        every = parse_duration(row["every"]) if row["every"] else None
    except ValueError:
        return ""
    if last is None or due is None or every is None:
        return ""
    off = (due - last).total_seconds() - every
    moved = f", {span(abs(off))} {'later' if off > 0 else 'earlier'} by chance" if abs(off) >= 1 else ""
    return f"{row['every']} after the last{moved}"


def _token_lines(token: TokenLine) -> list[str]:
    """Where a token lies, and who set it off."""
    where = f"  on {token['decky_id']}  {token['path'] or 'no path'}" if not is_foreign(token["kind"]) else ""
    lines = [
        f"{token['name']}  {token['kind']}{where}",
        _life(token),
        f"set off {counted(token['trips'], 'time')}, first {_stamp(token['first_trip_at'])}, last {_stamp(token['last_trip_at'])}",
    ]  # fmt: skip
    if token["memo"]:
        lines.append(f"memo   {token['memo']}")
    lines += ["", "read there, newest first:"] if token["last_reads"] else []
    for read in token["last_reads"]:
        lines.append(
            f"  {_stamp(read['at'])} {read['attacker_ip'] or '?'} in session {short(read['session_id'], 7)}"
        )
    lines += ["", "trips, newest first:"] if token["last_trips"] else []
    for trip in token["last_trips"]:
        who = f"{trip['peer']}{' (resolver)' if trip['peer_kind'] == 'resolver' else ''}"
        what = " an echo of earlier ones" if trip["echo"] else ""
        lines.append(
            f"  {_stamp(trip['last_at'])} {who} by {trip['via']}, {counted(trip['hits'], 'hit')}{what}  {trip['user_agent'] or ''}".rstrip()
        )
    return lines


def _life(token: TokenLine) -> str:
    """When a token of ours was made and placed; of one of another service's, since when it is known."""
    ended = f"  revoked {_stamp(token['revoked_at'])}" if token["revoked_at"] else ""
    if is_foreign(token["kind"]):
        return f"known since {_stamp(token['minted_at'])}{ended}"
    return f"minted {_stamp(token['minted_at'])}  placed {_stamp(token['placed_at'])}{ended}"


def _ago(moment: datetime | None) -> str:
    return span(time.time() - moment.timestamp()) if moment else "-"


def _until(row: Mapping[str, object]) -> str:
    due = row.get("next_due")
    return span(due.timestamp() - time.time()) if isinstance(due, datetime) else "-"


def _stamp(moment: datetime | None) -> str:
    return f"{clock(moment.timestamp(), 'date')}Z" if moment else "never"
