"""``ignore``: own scanners and the like, left out of lists until asked for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from decnet.config import Settings
from decnet.durations import ENDLESS
from decnet.errors import DecnetError
from decnet.hostile import visible
from decnet_tui.cli import common
from decnet_tui.model.words import addresses_text, counted

if TYPE_CHECKING:
    from decnet.db.rows.ignored import IgnoredEntry

_COLUMNS = ("ignore_id", "kind", "value", "state", "expires_at", "reason", "set_by", "set_at")


def ignore(
    what: Annotated[
        str, typer.Argument(metavar="CIDR|USER|list|remove", help="Network, address or login name.")
    ],
    entry: Annotated[str | None, typer.Argument(metavar="[ID]", help="With remove: the entry's id.")] = None,
    for_: Annotated[
        str | None,
        typer.Option(
            "--for", help="Expires by itself after 90s, 15m, 1h, 7d (that is the default), or forever."
        ),
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why, for whoever reads it later.")] = None,
    identity: Annotated[
        bool, typer.Option("--identity", help="All addresses of the identity that the address is one of.")
    ] = False,
    since: common.Since = None,
    limit: common.Limit = 100,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Leaves a source out of counts, lists, alerts and exports: ignore SOURCE, ignore list, ignore remove ID."""
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    if identity and what in ("list", "remove"):
        raise typer.BadParameter("--identity goes with an address")
    if what == "list":
        if entry is not None:
            raise typer.BadParameter("list takes no id")
        common.run(lambda: _list(settings, common.parse_since(since), limit, as_json))
    elif what == "remove":
        if entry is None:
            raise typer.BadParameter("remove needs the id that `ignore list` shows")
        common.run(lambda: _remove(settings, entry, as_json))
    else:
        if entry is not None:
            raise typer.BadParameter(f"unexpected {entry!r}: one source at a time")
        expires = _expiry(for_)
        if identity:
            common.run(lambda: _add_all(settings, what, expires, reason, as_json))
            return
        common.run(lambda: _add(settings, what, expires, reason, as_json))


async def _list(settings: Settings, since: datetime | None, limit: int, as_json: bool) -> None:
    async with common.repository(settings) as repo:
        found = await repo.ignored_sources()
    now = datetime.now(UTC)
    rows: list[Mapping[str, object]] = [
        {**row, "state": _state(row, now)} for row in found if since is None or row["set_at"] >= since
    ]
    shown = [{name: row[name] for name in _COLUMNS} for row in rows[: limit or None]]
    common.print_rows(shown, _COLUMNS, as_json, "nothing is ignored: add a source with `ignore 192.0.2.0/24`")


def _expiry(text: str | None) -> datetime | None:
    """When an entry ends; None for never. Raises typer.BadParameter."""
    from decnet_tui.actions.sources import IGNORED_FOR

    wanted = IGNORED_FOR if text is None else text.strip().lower()
    return None if wanted in ENDLESS else datetime.now(UTC) + common.parse_expiry(wanted)


def _state(row: IgnoredEntry, now: datetime) -> str:
    """An expired entry takes no new events; what it marked stays marked until it is removed."""
    return "expired" if row["expires_at"] is not None and row["expires_at"] <= now else "active"


async def _add(
    settings: Settings, source: str, expires: datetime | None, reason: str | None, as_json: bool
) -> None:
    from decnet_tui.actions.sources import IgnoreSource
    from decnet_tui.cli import changing

    change = IgnoreSource(source, expires.timestamp() if expires else None, reason)
    await changing.applied(settings, change)
    row = change.entry
    assert row is not None, "a change that was performed without an error has written its entry"
    if as_json:
        typer.echo(common.to_json(row))
        return
    until = f" until {expires:%Y-%m-%d %H:%M:%SZ}" if expires else ""
    name = "login name" if row["kind"] == "user" else "network"
    typer.echo(
        f"{row['ignore_id']}: {name} {visible(row['value'], 80)} is ignored{until}; {counted(row['marked'], 'session')} marked"
    )


async def _add_all(
    settings: Settings, address: str, expires: datetime | None, reason: str | None, as_json: bool
) -> None:
    from decnet_tui.actions.sources import IgnoreAll, same_identity
    from decnet_tui.cli import changing

    async with changing.opened(settings) as session:
        label, others = await same_identity(session, address)
        if not label:
            raise DecnetError(
                f"no identity has the address {visible(address, 60)}: see `decnet-tui attackers`"
            )
        sources = (address, *others)
        until = expires.timestamp() if expires else None
        await changing.perform(session, IgnoreAll(label, sources, True, until, reason))
    if as_json:
        typer.echo(common.to_json({"identity": label, "ignored": list(sources)}))
        return
    when = f" until {expires:%Y-%m-%d %H:%M:%SZ}" if expires else ""
    shown = ", ".join(visible(one, 60) for one in sources)
    typer.echo(
        f"{label}: {addresses_text(len(sources))} {'is' if len(sources) == 1 else 'are'} ignored{when}: {shown}"
    )


async def _remove(settings: Settings, entry: str, as_json: bool) -> None:
    from decnet_tui.actions.sources import NoticeSource
    from decnet_tui.cli import changing

    async with changing.opened(settings) as session:
        known = {row["ignore_id"]: str(row["value"]) for row in await session.store.ignored_sources()}
        if entry not in known:
            raise DecnetError(f"no entry {visible(entry, 40)}: see `decnet-tui ignore list`")
        await changing.perform(session, NoticeSource(known[entry]))
    typer.echo(common.to_json({"removed": entry}) if as_json else f"{visible(entry, 40)}: no longer ignored")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(ignore)
