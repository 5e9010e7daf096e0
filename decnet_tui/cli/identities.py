"""``identities`` and ``identity``: who is one hand, over which addresses, why, and what cannot be told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decnet.attack.catalogue import load_catalogue
from decnet.hostile import visible
from decnet_tui import linkedrows as linked
from decnet_tui.attackerrows import Where, country_text, network_text, place_row
from decnet_tui.cli import common, emptiness, linking
from decnet_tui.cli.lists import Asn, Attacker, Campaign, Country, no_match
from decnet_tui.times import span

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.linking import MemberSeen
    from decnet.intel.places import Places

Joined = Annotated[bool, typer.Option("--joined", help="Only those of several addresses.")]
Who = Annotated[
    str, typer.Argument(metavar="ID|IP", help="Id of an identity, its beginning, or one of its addresses.")
]
_COLUMNS = (
    "identity_uuid", "state", "addresses", "confidence", "reasons", "against", "merged_into", "states",
)  # fmt: skip
_NONE_JOINED = (
    "no identity of several addresses: linking needs something that only its owner profits from at two of them, a key, a payload"
    " host or file; `decnet-tui identities` lists all, `decnet-tui campaigns` who shares a kit"
)
identities_app = typer.Typer(
    name="identities",
    help="Identities: who is one hand, and why.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@identities_app.callback()
def identities(
    ctx: typer.Context,
    since: common.Since = None,
    attacker: Attacker = None,
    country: Country = None,
    asn: Asn = None,
    campaign: Campaign = None,
    joined: Joined = False,
    limit: common.Limit = 100,
    ignored: common.Ignored = False,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Identities with their addresses and why these are one, last seen first."""
    if ctx.invoked_subcommand is not None:
        ctx.obj = (config, data_dir, db)
        return
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    where: Where = {"country": country and country.upper(), "asn": asn}
    filters = {
        "since": common.parse_since(since),
        "attacker": attacker,
        "limit": limit,
        "ignored": ignored,
        "joined": joined,
    }

    async def ask() -> list[dict[str, Any]]:
        from decnet.intel.places import Places  # here: other commands start sooner

        places = await asyncio.to_thread(Places.of, settings)
        async with common.repository(settings, only_read=True) as repo:
            whose = await linked.whose_rows(repo, places, where, campaign, ignored)
            rows = await repo.list_identities(**filters, whose=whose)  # type: ignore[arg-type]
            states = await repo.state_counts([row["identity_uuid"] for row in rows])
            return [{**row, "states": dict(states.get(row["identity_uuid"], {}))} for row in rows]

    rows = common.run(ask)
    used = {**filters, **where, "campaign": campaign}
    shown = rows if as_json else [_for_people(row) for row in rows]
    common.print_rows(shown, _COLUMNS, as_json, _empty(used), {"reasons": 100})


def _empty(used: Mapping[str, object]) -> str:
    if used["joined"] and not any(used[name] for name in ("since", "attacker", "country", "asn", "campaign")):
        return _NONE_JOINED
    return no_match(used) or emptiness.NOTHING


def _for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    counts = ", ".join(f"{count} {state}" for state, count in sorted(row["states"].items()))
    return {**linked.table_row(row), "states": counts}


@identities_app.command("show")
def show(
    ctx: typer.Context,
    who: Who,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """One identity on a page: its addresses, why they are one, what speaks against, what cannot be told."""
    given: tuple[Any, Any, Any] = ctx.obj or (None, None, None)
    identity(who, as_json, data_dir or given[1], config or given[0], db or given[2])


def identity(
    who: Who,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """One identity on a page: its addresses, why they are one, what speaks against, what cannot be told."""
    settings = common.settings_of(config, data_dir=data_dir, db=db)

    async def ask() -> dict[str, Any]:
        from decnet.intel.places import Places  # here: other commands start sooner

        places = await asyncio.to_thread(Places.of, settings)
        async with common.repository(settings, only_read=True) as repo:
            return await identity_page(repo, places, who)

    told = common.run(ask)
    if as_json:
        typer.echo(common.to_json(told))
        return
    for line in lines_of(told):
        typer.echo(line)


async def identity_page(repo: BaseRepository, places: Places, who: str) -> dict[str, Any]:
    """The row of ``identities`` and all that stands behind it. Raises DecnetError for an identity that is not known."""
    from decnet.db.repository.conditions import Whose

    uuid, before = await linked.identity_meant(repo, who)
    row = await repo.get_identity(uuid)
    assert row is not None
    members = await repo.members_seen(uuid)
    attackers = row["attacker_uuids"]
    said = await repo.said_of(attackers)
    campaigns = await repo.campaigns_by_attacker(attackers)
    by_id = {one["campaign_uuid"]: one for some in campaigns.values() for one in some}
    states = await repo.state_counts([uuid])
    return {
        **row,
        "asked": before,
        "members": [_member(one, places) for one in members],
        "said": said,
        "said_addresses": await repo.addresses_of_attackers(
            sorted({u for one in said for u in (one["one"], one["other"])})
        ),
        "campaigns": sorted(by_id.values(), key=lambda one: (-one["addresses"], one["campaign_uuid"])),
        "technique_counts": [
            {"technique": name, "tags": count}
            for name, count in await repo.techniques_of(Whose(identity=uuid))
        ],
        "alerts": await repo.list_alerts(attacker=attackers[0], limit=0, ignored=True) if attackers else [],
        "states": dict(states.get(uuid, {})),
        "cannot_tell": linked.cannot_tell(row),
    }


def _member(one: MemberSeen, places: Places) -> dict[str, Any]:
    place = place_row(places, one["attacker_ip"])
    return {**one, **{name: value for name, value in place.items() if name != "unasked"}}


def lines_of(told: Mapping[str, Any]) -> Iterator[str]:
    """The page for people; text of attackers with control characters written out."""
    if told["asked"]:
        yield f"{linked.identity_label(told['asked'])} is part of this identity now (merged)"
    count = linked.addresses_text(len(told["members"]))
    strength = f"  confidence {told['confidence']:.1f} (log10)" if told["state"] == "joined" else ""
    yield f"IDENTITY {linked.identity_label(told['identity_uuid'])}  {count}{strength}  {told['state']}"
    yield f"identity {told['identity_uuid']}"
    yield from linked.page_lines("addresses", _members(told["members"]), limit=60)
    why = linked.why_lines(told)  # type: ignore[arg-type]
    yield from linked.page_lines("why", why, limit=40)
    yield from linked.page_lines("cannot be told", told["cannot_tell"])
    yield from linked.page_lines("operators said", linked.said_lines(told["said"], told["said_addresses"]))
    yield from linked.page_lines("campaigns", [linked.campaign_line(one) for one in told["campaigns"]])
    yield from linked.page_lines("techniques", [_technique(one) for one in told["technique_counts"]])
    yield from linked.page_lines("alerts", [_alert(one) for one in told["alerts"]])


def _members(members: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        (
            visible(one["attacker_ip"] or "-", 45),
            f"{day(one['first_seen'])} .. {day(one['last_seen'])}",
            linked.counted(one["sessions"], "session"),
            place_text(one),
        )
        for one in members
    ]
    widths = [max(len(row[n]) for row in rows) for n in range(3)] if rows else []
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in rows
    ]


def place_text(row: Mapping[str, Any]) -> str:
    """Country, network and lists of an address in one line."""
    lists = f"list: {visible(', '.join(row['lists']), linked.LONGEST)}" if row["lists"] else ""
    return "  ".join(part for part in (country_text(row), visible(network_text(row), 80), lists) if part)


def day(at: datetime | None) -> str:
    """The day of a moment."""
    return f"{at:%Y-%m-%d}" if at else "-"


def _technique(one: Mapping[str, Any]) -> str:
    return f"{one['technique']:<10} {load_catalogue().name(one['technique'])}  {one['tags']}"


def _alert(one: Mapping[str, Any]) -> str:
    age = span(time.time() - one["ts"].timestamp())
    families = visible(", ".join(one["families"] or ()), linked.LONGEST)
    return f"{one['alert_id']}  {one['state']}  {families}  {age} ago: several operators may share it"


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    linking.register(identities_app)
    app.add_typer(identities_app)
    app.command()(identity)
