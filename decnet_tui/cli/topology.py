"""``fleet topology``: operations on the wiring of a fleet, and what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from decnet.config import Settings
from decnet.errors import FleetError
from decnet.hostile import visible
from decnet_tui.cli import common

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from decnet.db.repository import BaseRepository
    from decnet.db.rows.fleet import MutationRow, TopologyRow

_KEYS = (
    "mutation_id",
    "fleet",
    "op",
    "target",
    "payload",
    "state",
    "reason",
    "requested_by",
    "created_at",
    "finished_at",
)
_COLUMNS = ("created_at", "fleet", "op", "target", "state", "requested_by", "reason")
_LISTS = frozenset({"services", "pinned", "pool", "networks"})
"""Keys of payloads that hold lists: one name alone, or names with commas between, will do."""
Op = Annotated[
    str,
    typer.Argument(
        metavar="[OP]",
        help="add_decky, remove_decky, update_decky, add_network, remove_network, attach_decky, detach_decky;"
        " list, or nothing, shows what became of them.",
    ),
]


def topology(
    op: Op = "list",
    target: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The decoy or network.")] = None,
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="services=http,ftp; network=dmz; mutate_interval=12h."),
    ] = None,
    fleet: Annotated[
        str | None, typer.Option("--fleet", help="Which fleet; needed where there are several.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until it is done; the exit code says how.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for whoever reads it later.")] = "",
    as_json: common.AsJson = False,
    since: common.Since = None,
    limit: common.Limit = 100,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Changes the wiring of a fleet, one operation at a time; without an engine it is stored and done when one starts.

    What is wrong with an operation is said at once, and nothing is enqueued then.
    """
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    if op == "list":
        _show(settings, as_json=as_json, since=since, limit=limit)
        return
    payload = _payload(values or [])
    row = common.run(lambda: _send(settings, fleet, op, target or "", payload, wait=wait, reason=reason))
    _print_outcome(row, as_json=as_json)


def _show(settings: Settings, *, as_json: bool, since: str | None, limit: int) -> None:
    start = common.parse_since(since)

    async def read() -> tuple[list[MutationRow], list[TopologyRow]]:
        from decnet.mutator.topology import OPS

        async with common.repository(settings) as repo:
            changes = await repo.mutations(since=start, kinds=OPS, limit=limit)
            return changes, await repo.topologies()

    changes, fleets = common.run(read)
    rows = [{**row, "op": row["kind"], "fleet": row["topology_id"]} for row in changes]
    shown = [{key: row[key] for key in _KEYS} for row in rows]
    common.print_rows(shown, _COLUMNS, as_json, "no operation on a topology yet")
    for fleet in () if as_json else fleets:
        networks = ", ".join(visible(name) for name in fleet["networks"] or ()) or "none"
        why = f" ({visible(fleet['reason'], 300)})" if fleet["reason"] else ""
        typer.echo(
            f"fleet {visible(fleet['topology_id'])}: {visible(fleet['status'])}{why}; networks: {networks}"
        )


def _payload(values: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` with YAML values. Ends the command with exit code 2 for anything else."""
    found: dict[str, Any] = {}
    for item in values:
        key, equals, text = item.partition("=")
        if not equals or not key.strip() or key in found:
            raise typer.BadParameter(f"{visible(item, 80)!r}: write KEY=VALUE, each key once")
        found[key] = _value(key, text)
    return found


def _value(key: str, text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise typer.BadParameter(f"{visible(key, 40)}: no YAML value: {visible(text, 80)}") from error
    if key in _LISTS and not isinstance(value, list):
        return [name.strip() for name in text.split(",") if name.strip()]
    return value


async def _send(
    settings: Settings,
    fleet: str | None,
    op: str,
    target: str,
    payload: dict[str, Any],
    *,
    wait: bool,
    reason: str,
) -> dict[str, Any]:
    from decnet.mutator.rows import Tools
    from decnet_tui.actions.topology import TopologyOp
    from decnet_tui.cli import changing

    async with changing.opened(settings, news=True) as session:
        chosen = fleet or await _only_fleet(session.store)
        limit = settings.mutator.apply_timeout_s if wait else 0.0
        change = TopologyOp(chosen, op, target, payload, Tools.of(settings), limit, reason or None)
        row = await changing.queued(session, change, "decnet-tui fleet topology list")
        return {**(row or {}), "engine": session.live}


async def _only_fleet(repo: BaseRepository) -> str:
    """The fleet that is meant where there is one. Raises FleetError otherwise."""
    names = [str(row["topology_id"]) for row in await repo.topologies()]
    if len(names) != 1:
        known = (
            f"; there are {', '.join(visible(name) for name in names)}" if names else ": there is none yet"
        )
        raise FleetError(f"name the fleet with --fleet{known}")
    return names[0]


def _print_outcome(row: Mapping[str, Any], *, as_json: bool) -> None:
    what = f"fleet {visible(row['topology_id'])}: {row['kind']} {visible(row['target'])}"
    if as_json:
        shown = {**row, "op": row["kind"], "fleet": row["topology_id"]}
        typer.echo(common.to_json({key: shown[key] for key in (*_KEYS, "engine")}))
    elif row["state"] == "applied":
        typer.echo(f"{what}: applied")
    elif row["state"] != "failed":
        engine = "" if row["engine"] else "; no engine runs here, it is done when one does"
        typer.echo(f"{what}: enqueued ({row['mutation_id']}){engine}")
    if row["state"] == "failed":
        common.fail(f"{what}: not applied: {visible(row['reason'], 500)}")
