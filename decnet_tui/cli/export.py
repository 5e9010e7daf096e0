"""``export``: tags for other tools, into one file that only its owner can read."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from decnet.errors import ExportError
from decnet_tui.cli import common

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.lists import ListedTag

Format = Literal["navigator", "stix", "csv", "jsonl"]


def export(
    what: Annotated[Format, typer.Argument(metavar="FORMAT", help="navigator, stix, csv or jsonl.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write; - is standard output.")],
    attacker: Annotated[str | None, typer.Option("--attacker", help="Address or id.")] = None,
    identity: Annotated[str | None, typer.Option("--identity", help="Identity id.")] = None,
    since: common.Since = None,
    ignored: Annotated[bool, typer.Option("--ignored", help="Ignored sources too.")] = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Writes tags as a Navigator layer, a STIX bundle, CSV or JSON lines."""
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    moment = common.parse_since(since)

    async def main() -> int:
        async with common.repository(settings) as repo:
            rows = await _rows(repo, moment, attacker, identity, ignored)
        _write(output, _pieces(what, rows, _about(attacker, identity, since)))
        return len(rows)

    count = common.run(main)
    if str(output) != "-":
        typer.echo(f"{count} tags to {output}", err=True)


async def _rows(
    repo: BaseRepository, since: Any, attacker: str | None, identity: str | None, ignored: bool
) -> list[ListedTag]:
    """Tags with their technique's name."""
    from decnet.attack.catalogue import load_catalogue

    name = load_catalogue().name
    identity = None if identity is None else await repo.canonical_identity(identity)
    tags = await repo.list_tags(since=since, attacker=attacker, limit=0, ignored=ignored)
    return [
        {**tag, "technique_name": name(tag["sub_technique_id"] or tag["technique_id"])}
        for tag in tags
        if identity is None or tag["identity_uuid"] == identity
    ]


def _about(attacker: str | None, identity: str | None, since: str | None) -> str:
    parts = [f"attacker {attacker}" if attacker else "", f"identity {identity}" if identity else ""]
    return ", ".join([*filter(None, parts), f"since {since}" if since else "all that is stored"])


def _pieces(what: Format, rows: list[ListedTag], about: str) -> Iterable[str]:
    from decnet.export import csv_lines, json_lines, navigator_layer, stix_bundle

    if what == "csv":
        return csv_lines(rows)
    if what == "jsonl":
        return json_lines(rows)
    if what == "stix":
        return [stix_bundle(rows), "\n"]
    return [json.dumps(navigator_layer(rows, description=about), indent=1), "\n"]


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
