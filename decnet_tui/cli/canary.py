"""``canary``: tokens that tell when somebody takes what lies on a decoy."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decnet.config import Settings
from decnet.db.rows.canary import is_foreign
from decnet.decoys.canary.cowriefs import parts_of
from decnet.decoys.canary.minting import KINDS, bait_of, check_reachable, minted
from decnet.decoys.canary.placing import put_file, put_in_cowrie
from decnet.errors import CanaryError, DecnetError
from decnet.hostile import visible
from decnet_tui.cli import common

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.canary import TokenOverview, TokenRow

canary = typer.Typer(
    help="Canary tokens: mint, list, place, revoke.", rich_markup_mode=None, no_args_is_help=True
)
_COLUMNS = (
    "token_id", "kind", "decky_id", "path", "state", "trips", "last_trip_at", "last_peer", "read_at", "read_ip", "memo",
)  # fmt: skip
_ROW = (*_COLUMNS, "read_session_id", "first_trip_at", "minted_at", "placed_at", "revoked_at")
_DECKY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
MAX_MEMO = 200
Token = Annotated[str, typer.Argument(metavar="TOKEN", help="Its id, as `canary list` shows it.")]
OutFile = Annotated[Path | None, typer.Option("--out", "-o", help="Write the file there; it must not exist.")]


@canary.command()
def mint(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of {', '.join(KINDS)}.")],
    decky: Annotated[str, typer.Option("--decky", help="The decoy that it will lie on.")],
    path: Annotated[
        str | None, typer.Option("--path", help="Where it will lie there, as seen from inside.")
    ] = None,
    memo: Annotated[str | None, typer.Option("--memo", help="For whoever reads of its trip.")] = None,
    out: OutFile = None,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Makes a token: its row first, then its file, on standard output or with --out."""
    if kind not in KINDS:
        raise typer.BadParameter(f"unknown kind {kind!r:.40}; known: {', '.join(KINDS)}")
    if not _DECKY.fullmatch(decky):
        raise typer.BadParameter(f"{decky!r:.80} is no name of a decoy")
    if memo is not None and len(memo) > MAX_MEMO:
        raise typer.BadParameter(f"--memo has at most {MAX_MEMO} characters")
    if not KINDS[kind].text and out is None and (as_json or sys.stdout.isatty()):
        raise typer.BadParameter(f"a token of the kind {kind} is no text: name a file with --out")
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    common.run(lambda: _mint(settings, kind, decky, path, memo, out, as_json))


async def _mint(
    settings: Settings,
    kind: str,
    decky: str,
    path: str | None,
    memo: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    from decnet_tui.actions.canary import MintToken
    from decnet_tui.cli import changing

    if path is not None:
        parts_of(path)
    check_reachable(kind, settings)
    if out is not None and out.exists():
        raise CanaryError(f"{out} is there already")
    token = minted(kind, decky, path=path, memo=memo, at=datetime.now(UTC))
    bait = bait_of(token, settings)
    await changing.applied(settings, MintToken(token))
    if out is not None:
        put_file(out, bait)
    if as_json:
        from decnet.db.repository.baits import overview

        shown = {**_shown(overview(token, {}, {})), "content": bait.decode() if KINDS[kind].text else None}
        typer.echo(common.to_json(shown))
        return
    where = f"written to {out}" if out is not None else ""
    typer.echo(f"{token['token_id']}: minted for {decky}; {where or 'its file follows'}", err=True)
    if out is None:
        typer.echo(bait, nl=False)


@canary.command("list")
def list_(
    since: common.Since = None,
    limit: common.Limit = 100,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Tokens with their last trip and who read them last, newest token first."""
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    common.run(lambda: _list(settings, common.parse_since(since), limit, as_json))


async def _list(settings: Settings, since: datetime | None, limit: int, as_json: bool) -> None:
    async with common.repository(settings, only_read=True) as repo:
        found = [row for row in await repo.canary_overview() if since is None or row["minted_at"] >= since]
    rows = [_shown(row) for row in found[: limit or None]]
    common.print_rows(rows, _COLUMNS, as_json, "no tokens: make one with `canary mint url --decky web-01`")


def _shown(row: TokenOverview) -> dict[str, Any]:
    """A token for people and scripts; its slug and what it watches for stay in the database. A resolver is marked."""
    there = "foreign" if is_foreign(row["kind"]) else "placed" if row["placed_at"] else "minted"
    state = "revoked" if row["revoked_at"] else there
    peer = row["last_peer"]
    last = f"{peer} (resolver)" if peer and row["last_peer_kind"] == "resolver" else peer
    whole: dict[str, Any] = {**row, "decky_id": row["decky_id"] or None, "state": state, "last_peer": last}
    return {name: whole[name] for name in _ROW}


@canary.command()
def place(
    token: Token,
    cowrie: Annotated[
        Path | None,
        typer.Option("--cowrie", metavar="FS.PICKLE", help="The picture of Cowrie's file system."),
    ] = None,
    out: OutFile = None,
    contents: Annotated[
        Path | None, typer.Option("--contents", help="Cowrie's contents_path, for Cowrie before 3.0.")
    ] = None,
    path: Annotated[
        str | None, typer.Option("--path", help="Where it lies there; default: as minted.")
    ] = None,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Puts a token's file into Cowrie's file system (--cowrie, --out for the new picture) or into a file (--out)."""
    if cowrie is None and out is None:
        raise typer.BadParameter("say where: --cowrie FS.PICKLE [--out NEW.PICKLE], or --out FILE")
    if contents is not None and cowrie is None:
        raise typer.BadParameter("--contents goes with --cowrie")
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    common.run(lambda: _place(settings, token, (cowrie, out, contents), path, as_json))


async def _place(
    settings: Settings,
    name: str,
    files: tuple[Path | None, Path | None, Path | None],
    path: str | None,
    as_json: bool,
) -> None:
    from decnet_tui.actions.canary import PlaceToken
    from decnet_tui.cli import changing

    cowrie, out, _ = files
    async with changing.opened(settings) as session:
        row = await _token(session.store, name)
        if is_foreign(row["kind"]):
            raise CanaryError(f"{visible(name, 60)} is another service's token: its file is to be had there")
        if row["revoked_at"] is not None:
            raise CanaryError(f"{name} was revoked: mint another one")
        row["path"] = path or row["path"]
        where = row["path"] or (str(out.absolute()) if cowrie is None and out is not None else "")
        if not where:
            raise CanaryError(f"{name} has no path: say where it shall lie with --path")
        await changing.perform(
            session, PlaceToken(row, where, _putting(files, where, bait_of(row, settings)))
        )
    if as_json:
        typer.echo(common.to_json({"token_id": name, "path": where, "file": str(out or cowrie)}))
        return
    typer.echo(f"{visible(name, 60)}: placed at {visible(where, 120)}")
    if cowrie is not None:
        typer.echo(f"set `[shell] filesystem = {out or cowrie}` in cowrie.cfg and restart Cowrie", err=True)


def _putting(
    files: tuple[Path | None, Path | None, Path | None], where: str, bait: bytes
) -> Callable[[], None]:
    cowrie, out, contents = files
    if cowrie is not None:
        return partial(put_in_cowrie, cowrie, out or cowrie, where, bait, contents)
    assert out is not None
    return partial(put_file, out, bait)


@canary.command()
def revoke(
    token: Token,
    reason: Annotated[str | None, typer.Option("--reason", help="Why, for whoever reads it later.")] = None,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """A token counts no longer; who sets it off then is only counted."""
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    common.run(lambda: _revoke(settings, token, reason, as_json))


async def _revoke(settings: Settings, name: str, reason: str | None, as_json: bool) -> None:
    from decnet_tui.actions.canary import RevokeToken
    from decnet_tui.cli import changing

    async with changing.opened(settings) as session:
        row = await _token(session.store, name)
        await changing.perform(session, RevokeToken(row, reason))
    typer.echo(common.to_json({"revoked": name}) if as_json else f"{visible(name, 60)}: revoked")


async def _token(repo: BaseRepository, name: str) -> TokenRow:
    row = await repo.canary_token(name)
    if row is None:
        raise DecnetError(f"no token {visible(name, 60)}: see `decnet-tui canary list`")
    return row


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(canary, name="canary")
