"""The queue: requests for a rotation, and operations on a topology, checked before they are written.

What an operation means is in :mod:`decnet.mutator.topology`; carrying it out is left to
:mod:`decnet.mutator.service`.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from decnet.db.repository import BaseRepository
from decnet.db.rows.fleet import MutationRow, TopologyRow
from decnet.errors import FleetError
from decnet.ids import event_id
from decnet.mutator import events
from decnet.mutator.rows import MAX_TEXT, Row, Tools, cause, put_decky, retire
from decnet.mutator.topology import OPS, Op, Shape, check_op, shape_of
from decnet.services import NAME


def request_key(name: str, request_id: str) -> str:
    """The ``mutation_id`` of a request for a decky: one for each pair, so that a request twice is one rotation."""
    return event_id("mutate_request", f"{name}|{request_id}")


async def request_rotation(
    repo: BaseRepository,
    name: str,
    *,
    requested_by: str = "",
    reason: str = "",
    request_id: str = "",
    trigger: str = "operator",
) -> str:
    """Enqueues a rotation of one decky, whether there is such a one or not; the ``mutation_id``."""
    request_id = request_id[:128] or uuid4().hex
    key = request_key(name, request_id)
    row = {
        "mutation_id": key,
        "kind": "rotate",
        "target": name[:255],
        "payload": {"request_id": request_id},
        "state": "enqueued",
        "trigger": trigger,
        "requested_by": requested_by[:MAX_TEXT],
        "reason": reason[:MAX_TEXT],
    }
    await repo.mutation_add(row)
    return key


async def enqueue_op(
    repo: BaseRepository,
    topology_id: str,
    kind: str,
    target: str,
    payload: dict[str, Any] | None,
    tools: Tools,
    *,
    requested_by: str = "",
    reason: str = "",
) -> str:
    """Checks an operation on what the queue will have made of the topology, and enqueues it; the ``mutation_id``.

    Raises FleetError that says everything wrong with it; then nothing is written.
    """
    async with repo.transaction() as tx:
        await tx.fleet_lock()
        waiting = await tx.mutations(
            states=("enqueued", "applying"), topology_id=topology_id, limit=0, newest_first=False
        )
        queued = [row for row in waiting if row["kind"] in OPS]
        if len(queued) >= tools.settings.mutator.max_queued:
            raise FleetError(f"{len(queued)} changes wait already")
        shape = await current_shape(tx, topology_id)
        for row in queued:
            shape = _after(shape, row, tools)
        op = check_op(shape, kind, target, dict(payload or {}), tools.catalogue, tools.defaults)
        added = _op_row(topology_id, op, requested_by, reason)
        await tx.mutation_add(added)
        await tx.outbox_add(events.topology_change(added, "enqueued"))
        return str(added["mutation_id"])


def _op_row(topology_id: str, op: Op, requested_by: str, reason: str) -> Row:
    return {
        "mutation_id": uuid4().hex,
        "kind": op.kind,
        "topology_id": topology_id,
        "target": op.target,
        "payload": op.payload,
        "state": "enqueued",
        "requested_by": requested_by[:MAX_TEXT],
        "reason": reason[:MAX_TEXT],
    }


def _after(shape: Shape, row: MutationRow, tools: Tools) -> Shape:
    """The shape once a waiting operation is done; one that has become impossible will change nothing."""
    try:
        return stored_op(shape, row, tools).shape
    except FleetError:
        return shape


def stored_op(shape: Shape, row: MutationRow, tools: Tools) -> Op:
    """The operation of a row, tried on a shape. Raises FleetError."""
    payload = dict(row["payload"] or {})
    return check_op(shape, row["kind"], row["target"], payload, tools.catalogue, tools.defaults)


async def current_shape(tx: BaseRepository, topology_id: str) -> Shape:
    """The stored topology as a shape. Raises FleetError when there is none."""
    topology = await tx.topology_get(topology_id) if NAME.match(topology_id) else None
    if topology is None:
        raise FleetError(f"no fleet '{topology_id[:70]}'")
    rows = await tx.deckies()
    mine = [row for row in rows if row["topology_id"] == topology_id]
    return shape_of(topology, mine, [row["name"] for row in rows if row["topology_id"] != topology_id])


async def write_op(tx: BaseRepository, row: MutationRow, op: Op, tools: Tools) -> bool:
    """Writes the effect of a checked operation; whether a decky has to follow."""
    topology_id, actor = row["topology_id"] or "", row["requested_by"]
    topology = await tx.topology_get(topology_id)
    assert topology is not None, "checked by current_shape under the same lock"
    if op.kind in ("add_network", "remove_network"):
        await tx.topology_update(topology_id, networks=sorted(op.shape.networks))
        return False
    if op.kind == "add_decky":
        assert op.spec is not None, "check_op gives every new decky a spec"
        await put_decky(tx, topology, op.spec, None, tools, actor)
        return True
    if op.kind == "remove_decky":
        await retire(tx, op.target, actor)
        return True
    return await _change_decky(tx, op, topology, actor, tools)


async def _change_decky(tx: BaseRepository, op: Op, topology: TopologyRow, actor: str, tools: Tools) -> bool:
    old = await tx.decky_get(op.target)
    assert old is not None, "checked by current_shape under the same lock"
    member = op.shape.deckies[op.target]
    values: Row = {"pinned": list(member.pinned), "networks": sorted(member.networks)}
    wish = op.payload.get("mutate_interval")
    if wish is not None:
        values["mutate_interval"] = "" if wish == "inherit" else wish
        values["next_due"] = tools.due_after(old, values["mutate_interval"], topology)
    desired = [name for name in old["pool"] or () if name in member.services]
    follows = set(desired) != set(old["desired"] or ()) or values["networks"] != (old["networks"] or [])
    if follows:
        values |= {"desired": desired, "pending": True, "failures": 0, "retry_at": None}
        values["cause"] = cause("operator", actor, old)
    await tx.decky_update(op.target, None, **values)
    return follows
