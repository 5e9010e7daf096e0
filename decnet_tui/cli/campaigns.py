"""``campaigns`` and ``campaign``: kits that several addresses have: who, since when, with what, and why they are one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decnet.attack.catalogue import load_catalogue
from decnet.errors import DecnetError
from decnet.hostile import visible
from decnet_tui import linkedrows as linked
from decnet_tui.attackerrows import Where, place_row
from decnet_tui.cli import common
from decnet_tui.cli.identities import day, place_text
from decnet_tui.cli.lists import Asn, Attacker, Country, no_match

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.intel.places import Places

Which = Annotated[
    str,
    typer.Argument(metavar="ID|NAME", help="Id of a campaign, its beginning, or a part of its name."),
]
_COLUMNS = (
    "campaign_uuid", "addresses", "identities", "sessions", "first_seen", "last_seen", "payload_hosts", "techniques", "name",
)  # fmt: skip
_NONE = (
    "no campaigns yet: one begins when two addresses have the same key, file or script, or scripts that are alike;"
    " linking is done by the worker `attribution` (`decnet-tui workers`) unless `linking.enabled` is off"
)
SHOWN = 40
"""Addresses on the page; JSON has all."""


def campaigns(
    since: common.Since = None,
    attacker: Attacker = None,
    country: Country = None,
    asn: Asn = None,
    limit: common.Limit = 100,
    ignored: common.Ignored = False,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Campaigns: one kit, perhaps many hands; those of most addresses first."""
    from decnet.intel.places import Places  # here: other commands start sooner

    settings = common.settings_of(config, data_dir=data_dir, db=db)
    where: Where = {"country": country and country.upper(), "asn": asn}
    moment = common.parse_since(since)

    async def ask() -> Sequence[Mapping[str, Any]]:
        places = await asyncio.to_thread(Places.of, settings)
        async with common.repository(settings, only_read=True) as repo:
            whose = await linked.whose_rows(repo, places, where, None, ignored)
            return await repo.list_campaigns(moment, attacker, limit, ignored, whose=whose)

    rows = common.run(ask)
    used = {"since": since, "attacker": attacker, **where}
    shown = rows if as_json else [_for_people(row) for row in rows]
    common.print_rows(shown, _COLUMNS, as_json, no_match(used) or _NONE, {"name": 80})


def _for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **row,
        "campaign_uuid": linked.campaign_label(row["campaign_uuid"]),
        "addresses": len(row["addresses"]),
        "identities": len(row["identities"]),
        "payload_hosts": linked.addresses_cell(row["payload_hosts"], 2),
        "techniques": linked.addresses_cell(row["techniques"], 4),
    }


def campaign(
    which: Which,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """One campaign on a page: its addresses and identities, files, hosts, techniques, and what it is known by."""
    from decnet.intel.places import Places  # here: other commands start sooner

    settings = common.settings_of(config, data_dir=data_dir, db=db)

    async def ask() -> dict[str, Any]:
        places = await asyncio.to_thread(Places.of, settings)
        async with common.repository(settings, only_read=True) as repo:
            return await campaign_page(repo, places, which)

    told = common.run(ask)
    if as_json:
        typer.echo(common.to_json(told))
        return
    for line in lines_of(told):
        typer.echo(line)


async def campaign_page(repo: BaseRepository, places: Places, which: str) -> dict[str, Any]:
    """The row of ``campaigns``, with where its addresses are. Raises DecnetError for a campaign that is not known.

    ``joined`` are its identities of several addresses, at most :data:`decnet_tui.linkedrows.MAX_JOINED`, the last seen first.
    """
    uuid, before = await linked.campaign_meant(repo, which)
    told = await linked.page_of_campaign(repo, uuid)
    if told is None:
        raise DecnetError(f"campaign {uuid} has one address now, and is none until another comes")
    members = [{**one, **place_row(places, one["attacker_ip"])} for one in told["members"]]
    for one in members:
        del one["unasked"]
    return {**told, "asked": before, "members": members}


def lines_of(told: Mapping[str, Any]) -> Iterator[str]:
    """The page for people; text of attackers with control characters written out."""
    if told["asked"]:
        yield f"{linked.campaign_label(told['asked'])} is part of this campaign now (merged)"
    label, name = linked.campaign_label(told["campaign_uuid"]), visible(told["name"], linked.LONGEST)
    yield f"CAMPAIGN {label}  {name}"
    yield f"campaign {told['campaign_uuid']}"
    yield (
        f"seen {day(told['first_seen'])} .. {day(told['last_seen'])}  {linked.counted(told['sessions'], 'session')} of "
        f"{linked.addresses_text(len(told['members']))}, {linked.counted(len(told['identities']), 'identity', 'identities')}"
    )
    yield from linked.page_lines(
        "why: assets that its addresses share", [linked.asset_line(one) for one in told["reasons"]]
    )
    yield from linked.page_lines("cannot be told", told["cannot_tell"])
    yield from linked.page_lines("addresses", [_member(one) for one in told["members"]], limit=SHOWN)
    yield from linked.page_lines(
        "identities of several addresses", [_identity(one) for one in told["joined"]]
    )
    if len(told["joined"]) == linked.MAX_JOINED:
        yield f"  maybe more: `decnet-tui identities --joined --campaign {label} --limit 0`"
    for title, key in (("hosts that it fetched from", "payload_hosts"), ("files (sha256)", "hashes")):
        yield from linked.page_lines(title, [visible(one, linked.LONGEST) for one in told[key]])
    named = load_catalogue().name
    yield from linked.page_lines("techniques", [f"{one:<10} {named(one)}" for one in told["techniques"]])


def _member(one: Mapping[str, Any]) -> str:
    return f"{visible(one['attacker_ip'] or '-', 45):<16} {place_text(one)}".rstrip()


def _identity(one: Mapping[str, Any]) -> str:
    addresses = linked.addresses_cell(one["addresses"])
    return f"{linked.identity_label(one['identity_uuid'])}  {one['confidence']:.1f}  {addresses}"


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(campaigns)
    app.command()(campaign)
