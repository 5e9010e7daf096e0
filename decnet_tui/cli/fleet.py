"""``fleet``: apply a fleet file, list deckies, rotate one, set its interval, set OpenCanary up."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decnet.config import Settings
from decnet.errors import DecnetError
from decnet.hostile import visible
from decnet.names import token_of
from decnet_tui.cli import common
from decnet_tui.cli.topology import topology
from decnet_tui.model.words import counted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from decnet.db.repository import BaseRepository
    from decnet.db.rows.fleet import DeckyRow, MutationRow, Rotated, TopologyRow
    from decnet.db.rows.runtime import KnownName

group = typer.Typer(
    help="The decoys: apply, list, mutate, interval, topology, setup.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The decoy.")]
_KEYS = (
    "name", "archetype", "substrate", "desired", "observed", "state", "mutate_interval", "last_mutated", "next_due",
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Adds ``fleet``."""
    group.command()(topology)
    app.add_typer(group, name="fleet")


@group.command()
def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The fleet file (YAML).")],
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Makes the fleet what the file says. Deckies that are not in it any more are taken down; an empty list ends all."""
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    done = common.run(lambda: _apply(settings, file))
    if as_json:
        typer.echo(common.to_json(done))
        return
    for what in ("added", "changed", "removed", "unchanged"):
        if done[what]:
            typer.echo(f"{what}: {', '.join(done[what])}")
    if not done["engine"]:
        typer.echo("no engine runs here: the decoys follow when `decnet-tui --headless` does")


async def _apply(settings: Settings, file: Path) -> dict[str, Any]:
    from decnet.mutator.fleet import load_fleet
    from decnet.mutator.rows import Tools
    from decnet_tui.actions.fleet import FleetApply
    from decnet_tui.cli import changing

    settings, engine = common.reach(settings)
    tools = Tools.of(settings)
    change = FleetApply(load_fleet(file, tools.catalogue, tools.defaults), tools)
    async with changing.opened(settings, store=_opened) as session:
        await changing.perform(session, change)
    return {**change.done, "engine": engine is not None}


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[BaseRepository]:
    """The database of the settings, made when there is none yet: a fleet may come before the first engine."""
    from decnet.db.repository import BaseRepository

    repo = await BaseRepository.open(settings.db_url)
    try:
        yield repo
    finally:
        await repo.close()


@group.command("list")
def list_deckies(
    as_json: common.AsJson = False,
    since: common.Since = None,
    limit: common.Limit = 100,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """All decoys: what they should run, what they really run, when they rotate. --since: rotated since then."""
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    start = common.parse_since(since)

    async def read() -> tuple[list[DeckyRow], list[TopologyRow], list[KnownName]]:
        async with common.repository(settings) as repo:
            return await repo.deckies(), await repo.topologies(), await repo.names()

    found, topologies, names = common.run(read)
    inherited = {row["topology_id"]: row["mutate_interval"] for row in topologies}
    rows = [row for row in found if start is None or (row["last_mutated"] and row["last_mutated"] >= start)]
    rows = rows[: limit or None]
    for row in rows:
        row["mutate_interval"] = row["mutate_interval"] or inherited.get(row["topology_id"], "never")
    every: list[Mapping[str, object]] = [*rows]
    shown = [{key: row[key] for key in _KEYS} for row in every]
    common.print_rows(shown, _KEYS, as_json, "no decoys: `decnet-tui fleet apply FILE` makes some")
    if not as_json:
        _notes(rows, topologies)
        _namesakes({row["name"] for row in rows}, names)


def _notes(rows: Sequence[DeckyRow], topologies: Sequence[TopologyRow]) -> None:
    for row in rows:
        if row["reason"]:
            typer.echo(f"{visible(row['name'])}: {visible(row['reason'], 300)}")
    for fleet in topologies:
        reason = f" ({visible(fleet['reason'], 300)})" if fleet["reason"] else ""
        typer.echo(f"fleet {visible(fleet['topology_id'])}: {visible(fleet['status'])}{reason}")


def _namesakes(deckies: set[str], names: Sequence[KnownName]) -> None:
    """Sensors of others whose names clean to a decky's: what they log is kept under another one."""
    for row in names:
        if row["name"] not in deckies and token_of(row["name"]) in deckies:
            typer.echo(
                f"the sensor {visible(row['name'], 80)} is none of these: its name here is {row['token']}"
            )


@group.command()
def mutate(
    name: Name,
    wait: Annotated[bool, typer.Option("--wait", help="Until it is done; the exit code says how.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also while an attacker's session is live: it is cut off.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for whoever reads it later.")] = "",
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Asks for a rotation of one decoy; without an engine the request is stored and served when one starts."""
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    row = common.run(lambda: _mutate(settings, name, wait=wait, force=force, reason=reason))
    old, new = row["old_services"], row["new_services"]
    if as_json:
        typer.echo(common.to_json(row))
    elif row["state"] == "applied":
        typer.echo(f"{visible(name)}: {_list(old)} → {_list(new)}")
    elif row["state"] != "failed":
        engine = "" if row["engine"] else "; no engine runs here, it is served when one does"
        typer.echo(f"{visible(name)}: requested ({row['mutation_id']}){engine}")
    if row["state"] == "failed":
        common.fail(f"{visible(name)}: not rotated: {visible(row['reason'], 500)}")


def _list(services: Sequence[str]) -> str:
    return " ".join(visible(name) for name in services) or "nothing"


async def _mutate(settings: Settings, name: str, *, wait: bool, force: bool, reason: str) -> dict[str, Any]:
    from decnet_tui.actions.fleet import Rotation
    from decnet_tui.cli import changing

    async with changing.opened(settings, news=True) as session:
        await _may_rotate(session.store, settings, name, force)
        limit = settings.mutator.apply_timeout_s if wait else 0.0
        row = await changing.queued(session, Rotation(name, limit, reason or None), "decnet-tui fleet list")
        return _result(row, session.live)


async def _may_rotate(repo: BaseRepository, settings: Settings, name: str, force: bool) -> None:
    """Raises DecnetError for an unknown decky, and for one on which sessions are live unless forced."""
    decky = await repo.decky_get(name)
    if decky is None or not decky["wanted"]:
        raise DecnetError(f"no decoy {visible(name, 80)}: see `decnet-tui fleet list`")
    live = await repo.live_sessions(name, time.time() - settings.mutator.quiet_session_s)
    if live and not force:
        sessions = (
            f"{counted(live, 'attacker session')} {'is' if live == 1 else 'are'} live on {visible(name)}"
        )
        raise DecnetError(f"{sessions} and would be cut off: wait, or repeat with --force")


def _result(row: MutationRow | None, engine: bool) -> dict[str, Any]:
    """What became of the request."""
    known: Mapping[str, object] = row if row is not None else {}
    told: Rotated = (row["outcome"] if row is not None else None) or {}
    return {
        "name": known.get("target"), "mutation_id": known.get("mutation_id"), "state": known.get("state"),
        "reason": known.get("reason") or "", "old_services": told.get("old") or [],
        "new_services": told.get("new") or [], "engine": engine,
    }  # fmt: skip


@group.command()
def interval(
    name: Name,
    every: Annotated[str, typer.Argument(metavar="INTERVAL", help="30m, 12h, 7d, never or inherit.")],
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Sets how often a decoy rotates."""
    from decnet_tui.actions.fleet import IntervalChange
    from decnet_tui.cli import changing

    settings = common.settings_of(config, data_dir=data_dir, db=db)
    common.run(lambda: changing.applied(settings, IntervalChange(name, every, settings)))
    said = {"name": name, "mutate_interval": every}
    typer.echo(common.to_json(said) if as_json else f"{visible(name)}: {visible(every)}")


@group.command()
def setup(
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Installs OpenCanary in an environment of its own in the data directory, and makes what our own decoys need."""
    from decnet.decoys.setup import prepare
    from decnet.mutator.setup import make_environment

    settings = common.settings_of(config, data_dir=data_dir, db=db)

    async def make() -> tuple[Path, bool]:
        return await asyncio.to_thread(make_environment, settings.mutator, settings.data_dir)

    async def make_own() -> list[str]:
        return await asyncio.to_thread(prepare, settings)

    own = common.run(make_own)
    place, made = common.run(make)
    version = settings.mutator.opencanary_version
    typer.echo(f"OpenCanary {version} installed in {place}" if made else f"OpenCanary is ready in {place}")
    for line in own:
        typer.echo(line)
