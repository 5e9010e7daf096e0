"""``export``: tags for other tools, into one file that only its owner can read."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from decnet.errors import ExportError
from decnet_tui.cli import common
from decnet_tui.cli.lists import Asn, Campaign, Country
from decnet_tui.model.identities import identity_meant, whose_rows
from decnet_tui.model.places import Where, place_row
from decnet_tui.model.words import counted

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.repository.conditions import Whose
    from decnet.db.rows.lists import ListedTag, TagCount
    from decnet.export.known import ExportPlace, Known
    from decnet.intel.places import Places

Format = Literal["navigator", "stix", "csv", "jsonl"]


def export(
    what: Annotated[Format, typer.Argument(metavar="FORMAT", help="navigator, stix, csv or jsonl.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write; - is standard output.")],
    attacker: Annotated[str | None, typer.Option("--attacker", help="Address or id.")] = None,
    identity: Annotated[
        str | None,
        typer.Option("--identity", help="Id of an identity, its beginning, or one of its addresses."),
    ] = None,
    campaign: Campaign = None,
    country: Country = None,
    asn: Asn = None,
    since: common.Since = None,
    ignored: Annotated[bool, typer.Option("--ignored", help="Ignored sources too.")] = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Writes tags as a Navigator layer, a STIX bundle, CSV or JSON lines, with whose they are and where from."""
    from decnet.intel.places import Places  # here: other commands start sooner

    settings = common.settings_of(config, data_dir=data_dir, db=db)
    moment = common.parse_since(since)

    where: Where = {"country": country and country.upper(), "asn": asn}
    asked = {"attacker": attacker, "identity": identity, "campaign": campaign, **where, "since": since}

    async def main() -> int:
        places = await asyncio.to_thread(Places.of, settings)
        async with common.repository(settings) as repo:
            whose = await whose_rows(repo, places, where, campaign, ignored)
            if identity is not None:
                whose = whose._replace(identity=(await identity_meant(repo, identity))[0])
            if what == "navigator":  # counts alone: the tags themselves would take a hundred times as long
                counts = await repo.tag_counts(moment, attacker, ignored, whose=whose)
                known = await _known(repo, places, counts, ignored)
                _write(output, _layer(counts, known, _about(asked)))
                return sum(row["tags"] for row in counts)
            rows = await _rows(repo, moment, attacker, whose, ignored)
            known = await _known(repo, places, rows, ignored)
            if what == "stix":
                hosts = await repo.hosts_by_attacker(sorted(_attackers(rows)), ignored)
                known = known._replace(hosts=hosts)
        _write(output, _pieces(what, rows, known))
        return len(rows)

    count = common.run(main)
    if str(output) != "-":
        typer.echo(f"{counted(count, 'tag')} to {output}", err=True)


async def _rows(
    repo: BaseRepository, since: Any, attacker: str | None, whose: Whose, ignored: bool
) -> list[ListedTag]:
    """Tags with their technique's name."""
    from decnet.attack.catalogue import load_catalogue

    name = load_catalogue().name
    tags = await repo.list_tags(since=since, attacker=attacker, limit=0, ignored=ignored, whose=whose)
    return [{**tag, "technique_name": name(tag["sub_technique_id"] or tag["technique_id"])} for tag in tags]


async def _known(
    repo: BaseRepository, places: Places, rows: Sequence[ListedTag] | Sequence[TagCount], ignored: bool
) -> Known:
    """Where the addresses of some tags are, their identities and campaigns."""
    from decnet.db.repository.conditions import Whose
    from decnet.export import Known

    attackers = sorted(_attackers(rows))
    named = await repo.campaigns_by_attacker(attackers)
    listed = await repo.list_campaigns(limit=0, ignored=ignored, whose=Whose(attackers)) if named else []
    return Known(
        {ip: _place(places, ip) for ip in {row["attacker_ip"] for row in rows} if ip},
        await repo.identities_by_id([row["identity_uuid"] for row in rows if row["identity_uuid"]]),
        {one["campaign_uuid"]: one for one in listed},
        {uuid: [one["campaign_uuid"] for one in some] for uuid, some in named.items()},
    )


def _attackers(rows: Sequence[ListedTag] | Sequence[TagCount]) -> set[str]:
    return {row["attacker_uuid"] for row in rows if row["attacker_uuid"]}


def _place(places: Places, ip: str) -> ExportPlace:
    row = place_row(places, ip)
    return {
        "country": row["country"],
        "allocated": row["allocated"],
        "asn": row["asn"],
        "as_name": row["as_name"],
    }


def _about(asked: Mapping[str, object]) -> str:
    parts = [f"{name} {value}" for name, value in asked.items() if value is not None]
    return ", ".join(parts if asked["since"] else [*parts, "all that is stored"])


def _layer(counts: Sequence[TagCount], known: Known, about: str) -> list[str]:
    from decnet.export import navigator_layer
    from decnet.export.navigator import LayerRow

    rows = cast("Sequence[LayerRow]", counts)
    return [json.dumps(navigator_layer(rows, description=about, beside=known), indent=1), "\n"]


def _pieces(what: Format, rows: list[ListedTag], known: Known) -> Iterable[str]:
    from decnet.export import csv_lines, json_lines, stix_bundle

    if what == "csv":
        return csv_lines(rows, known)
    if what == "jsonl":
        return json_lines(rows, known)
    return [stix_bundle(rows, known), "\n"]


def _write(output: Path, pieces: Iterable[str]) -> None:
    """Writes beside the file and renames: a full disk leaves the old file as it was. Raises ExportError."""
    if str(output) == "-":
        sys.stdout.writelines(pieces)
        return
    draft = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with os.fdopen(
            os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            file.writelines(pieces)
        draft.replace(output)
    except OSError as error:
        raise ExportError(f"{output} cannot be written: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(export)
