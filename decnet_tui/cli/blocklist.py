"""``blocklist``: addresses of real attackers for a firewall, with an end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from decnet.events.ttp import SEVERITIES
from decnet_tui.cli import common
from decnet_tui.cli.target import written_to
from decnet_tui.model.words import counted

if TYPE_CHECKING:
    from decnet.export.blocklist import Blocked
    from decnet_tui.model.attackers import AttackerRow

Severity = Literal["critical", "high", "medium", "low", "info"]
Form = Literal["plain", "nft", "json"]
_OWN, _SCANNERS, _BENIGN = "own", "scan", "benign"
"""The list of the own networks; a part of the names of lists of scanners; the word of who knows a scanner."""


def blocklist(
    severity: Annotated[
        Severity, typer.Option("--severity", help="Attackers with a session of this severity or worse.")
    ] = "high",
    ttl: Annotated[
        str, typer.Option("--ttl", help="How long after an address was last seen: 12h, 7d.")
    ] = "7d",
    form: Annotated[Form, typer.Option("--format", help="plain, nft (for nft -f) or json.")] = "plain",
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow", help="A list of `intel sources` whose addresses are left out too. Repeatable."
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The file to write; - is standard output.")
    ] = Path("-"),
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Addresses of attackers to block until they expire.

    Never among them: private networks and this host, your own networks, ignored sources, addresses on a list with
    "scan" in its name, and those that GreyNoise calls benign.
    """
    from decnet.export.blocklist import rendered
    from decnet.intel.places import Places  # here: other commands start sooner
    from decnet_tui.model.attackers import attacker_rows

    settings = common.settings_of(config, data_dir=data_dir, db=db)
    lives = common.parse_expiry(ttl)
    now = datetime.now(UTC)

    async def ask() -> list[AttackerRow]:
        places = await asyncio.to_thread(Places.of, settings)
        async with common.repository(settings, only_read=True) as repo:
            return await attacker_rows(repo, places, {"limit": 0}, {})

    rows = common.run(ask)
    found = list(chosen(rows, severity, lives, frozenset(allow or ())))

    async def write() -> None:
        with written_to(output) as target:
            target(rendered(found, form, now))

    common.run(write)
    current = sum(one.expires_at > now for one in found)
    over = f", {len(found) - current} expired" if len(found) > current else ""
    typer.echo(f"{counted(current, 'address', 'addresses')} to block{over}", err=True)


def chosen(
    rows: Iterable[AttackerRow], severity: str, ttl: timedelta, allow: frozenset[str]
) -> Iterable[Blocked]:
    """Rows that are to be blocked, the expired ones too."""
    from decnet.export.blocklist import Blocked, expiry, may_block

    worst = SEVERITIES.index(severity)
    for row in rows:
        address, last, said = row["attacker_ip"], row["last_seen"], row["severity"]
        if address is None or last is None or said is None or SEVERITIES.index(said) > worst:
            continue
        if may_block(address) and not _allowed(row, allow):
            yield Blocked(address, said, row["first_seen"], last, expiry(last, ttl), row["country"])


def _allowed(row: AttackerRow, allow: frozenset[str]) -> bool:
    listed = any(name == _OWN or name in allow or _SCANNERS in name.lower() for name in row["lists"])
    return listed or any(
        one["source"] == "greynoise" and _BENIGN in one["verdict"].lower().split()
        for one in row["reputation"]
    )


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(blocklist)
