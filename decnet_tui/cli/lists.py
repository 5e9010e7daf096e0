"""Lists: tags, sessions, attackers."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, TypeVar

import typer

from decnet_tui.cli import common, emptiness
from decnet_tui.model.identities import addresses_cell, campaign_id, campaign_label

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.lists import ListedSession, ListedTag
    from decnet.home import Home
    from decnet_tui.model.attackers import AttackerRow

R = TypeVar("R")


def asn_number(text: str) -> int:
    """The number in ``49981`` or ``AS49981``. Raises BadParameter."""
    from decnet.intel.answers import asn_of

    found = asn_of(text)
    if found is None:
        raise typer.BadParameter("a network is a number, for example 49981 or AS49981")
    return found


Attacker = Annotated[str | None, typer.Option("--attacker", help="Address, uuid or the beginning of one.")]
Session = Annotated[
    str | None, typer.Option("--session", help="Session id, its beginning, or the honeypot's own.")
]
Technique = Annotated[str | None, typer.Option("--technique", help="ATT&CK id, for example T1105.")]

Severity = Annotated[
    str | None, typer.Option("--severity", help="At least this bad: critical, high, medium, low or info.")
]
Playbook = Annotated[
    str | None, typer.Option("--playbook", help="Id of a playbook, for example pb-83a51757564e.")
]

Country = Annotated[
    str | None, typer.Option("--country", help="Two letters, as the files and tables on this host have it.")
]
Asn = Annotated[
    int | None, typer.Option("--asn", help="Number of a network, for example 49981.", parser=asn_number)
]

Campaign = Annotated[
    str | None,
    typer.Option(
        "--campaign", help="Only of a campaign: its id, the beginning of that, or a part of its name."
    ),
]

_STORY_COLUMNS = 200
"""A terminal as wide as this shows stories too; what goes to a file or a pipe has them."""
_NO_MATCH = "nothing matches: ask without"


class Filters(TypedDict):
    """What narrows a list of attackers; the keys are the parameters of its query."""

    since: datetime | None
    attacker: str | None
    technique: str | None
    limit: int
    ignored: bool


class SessionFilters(Filters):
    """What narrows a list of tags or sessions."""

    session: str | None


class TagFilters(SessionFilters):
    """What narrows a list of tags."""

    rule: str | None


class StoryFilters(SessionFilters):
    """What narrows a list of sessions."""

    severity: str | None
    playbook: str | None
    campaign: str | None


def no_match(filters: Mapping[str, object]) -> str:
    """What to say when filters may have emptied a list; nothing when there are none."""
    names = (
        "since", "attacker", "session", "technique", "rule", "severity", "playbook", "country", "asn", "campaign", "joined",
    )  # fmt: skip
    used = [f"--{name}" for name in names if filters.get(name)]
    return f"{_NO_MATCH} {' '.join(used)} to see more" if used else ""


def _empty(filters: Mapping[str, object]) -> str:
    """What fills an empty list; with filters it may be they that emptied it."""
    return no_match(filters) or emptiness.NOTHING


def tags(
    since: common.Since = None,
    attacker: Attacker = None,
    session: Session = None,
    technique: Technique = None,
    rule: Annotated[str | None, typer.Option("--rule", help="Only what this rule gave.")] = None,
    campaign: Campaign = None,
    limit: common.Limit = 100,
    ignored: common.Ignored = False,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Tags, by when the attacker did it, newest first; --since means that too."""
    from decnet.attack.catalogue import load_catalogue

    filters: TagFilters = {
        "since": common.parse_since(since), "attacker": attacker, "session": session, "technique": technique, "limit": limit, "ignored": ignored,
        "rule": rule,
    }  # fmt: skip
    home = common.home_of(config, data_dir=data_dir, db=db)
    rows, why = common.run(lambda: _tags(home, config, filters, campaign))
    named: list[ListedTag] = [
        {**row, "technique_name": load_catalogue().name(row["sub_technique_id"] or row["technique_id"])}
        for row in rows
    ]
    shown = [_for_people(row) for row in named]
    columns = (
        "seen_at",
        "created_at",
        "technique",
        "technique_name",
        "confidence",
        "rule_id",
        "attacker_ip",
        "evidence",
    )
    common.print_rows(named if as_json else shown, columns, as_json, why)


async def _tags(
    home: Home, config: Path | None, filters: TagFilters, campaign: str | None
) -> tuple[list[ListedTag], str]:
    """The rows, and what to say when there are none."""
    from decnet.db.repository.conditions import Whose

    async with common.repository(home, only_read=True) as repo:
        whose = Whose(campaign=await campaign_id(repo, campaign))
        if filters["session"]:
            filters["session"] = await repo.session_named(filters["session"]) or filters["session"]
        rows = await repo.list_tags(**filters, whose=whose)
        if rows:
            return rows, ""
        if campaign is not None:
            return rows, no_match({**filters, "campaign": campaign})
        if (why := _empty(filters)) != emptiness.NOTHING and await repo.list_tags(limit=1):
            return rows, why
        beats = common.settings_of(config).runtime.heartbeat_s
        return rows, await emptiness.why_no_tags(repo, beats)


def _for_people(row: ListedTag) -> Mapping[str, object]:
    """With the technique in one column, and of the evidence what the session tells, or what matched."""
    evidence = row["evidence"] or {}
    told = evidence.get("because") or evidence.get("matched")
    return {**row, "technique": row["sub_technique_id"] or row["technique_id"], "evidence": told}


def sessions(
    since: common.Since = None,
    attacker: Attacker = None,
    session: Session = None,
    technique: Technique = None,
    severity: Severity = None,
    playbook: Playbook = None,
    campaign: Campaign = None,
    limit: common.Limit = 100,
    ignored: common.Ignored = False,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Sessions, newest first, with what each amounts to."""
    filters: StoryFilters = {
        "since": common.parse_since(since), "attacker": attacker, "session": session, "technique": technique, "limit": limit, "ignored": ignored,
        "severity": severity, "playbook": playbook, "campaign": campaign,
    }  # fmt: skip
    bad = _at_least(severity)
    rows = _query(lambda repo: _sessions(repo, filters, bad), config, data_dir, db)
    columns = (
        "started_at",
        "severity",
        "attacker_ip",
        "decky_id",
        "service",
        "duration_s",
        "command_count",
        "tag_count",
        "end_reason",
        "sensor_session",
        "session_id",
        *(("story_line",) if _wide() else ()),
    )
    common.print_rows(rows, columns, as_json, _empty(filters), {"story_line": 80})


def _wide() -> bool:
    return not sys.stdout.isatty() or shutil.get_terminal_size().columns >= _STORY_COLUMNS


def _at_least(severity: str | None) -> Sequence[str]:
    """The severities that are asked for; none for all. Raises typer.BadParameter."""
    if severity is None:
        return ()
    from decnet.events.ttp import SEVERITIES
    from decnet.ttp.severity import worse

    try:
        return worse(severity)
    except ValueError:
        raise typer.BadParameter(f"{severity!r} is none of {', '.join(SEVERITIES)}") from None


async def _sessions(
    repo: BaseRepository, filters: StoryFilters, severities: Sequence[str]
) -> list[ListedSession]:
    """A list of sessions shows all that have an id; of anything else one has to be meant."""
    from decnet.db.repository.conditions import Whose
    from decnet.db.repository.lists.evidence import Judged

    named: Sequence[str] | str | None = None
    if filters["session"]:
        named = await repo.sessions_named(filters["session"]) or filters["session"]
    return await repo.list_sessions(
        filters["since"],
        filters["attacker"],
        named,
        filters["technique"],
        filters["limit"],
        filters["ignored"],
        Judged(severities, filters["playbook"]),
        whose=Whose(campaign=await campaign_id(repo, filters["campaign"])),
    )


def playbooks(
    since: common.Since = None,
    severity: Severity = None,
    limit: common.Limit = 100,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Sessions that do the same under other names, as one: the worst first, then those with most sessions."""
    start, bad = common.parse_since(since), _at_least(severity)
    rows = _query(lambda repo: repo.list_playbooks(start, bad, limit), config, data_dir, db)
    columns = (
        "playbook",
        "severity",
        "session_count",
        "attacker_count",
        "first_seen",
        "last_seen",
        "story_line",
    )
    common.print_rows(
        rows, columns, as_json, _empty({"since": start, "severity": severity}), {"story_line": 80}
    )


def attackers(
    since: common.Since = None,
    attacker: Attacker = None,
    technique: Technique = None,
    country: Country = None,
    asn: Asn = None,
    campaign: Campaign = None,
    limit: common.Limit = 100,
    ignored: common.Ignored = False,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Attackers, last seen first, with where they are from and what they did."""
    from decnet.intel.places import Places  # here: other lists start sooner
    from decnet_tui.model.attackers import attacker_rows
    from decnet_tui.model.places import Where

    settings = common.settings_of(config, data_dir=data_dir, db=db)
    where: Where = {"country": country and country.upper(), "asn": asn}
    filters: Filters = {
        "since": common.parse_since(since),
        "attacker": attacker,
        "technique": technique,
        "limit": limit,
        "ignored": ignored,
    }

    async def ask() -> list[AttackerRow]:
        places = await asyncio.to_thread(Places.of, settings)
        async with common.repository(settings, only_read=True) as repo:
            return await attacker_rows(repo, places, filters, where, campaign)

    found = common.run(ask)
    rows: Sequence[Mapping[str, Any]] = (
        found if as_json else [{**row, **_attacker_cells(row)} for row in found]
    )
    columns = (
        "attacker_ip", "country", "as_name", "first_seen", "last_seen", "session_count", "decky_count", "severity",
        "techniques", "campaigns", "did", "attacker_uuid",
    )  # fmt: skip
    common.print_rows(
        rows, columns, as_json, _empty({**filters, **where, "campaign": campaign}), {"as_name": 30}
    )


def _attacker_cells(row: AttackerRow) -> dict[str, Any]:
    from decnet_tui.model.places import country_text, network_text

    named = [campaign_label(uuid) for uuid in row["campaigns"]]
    return {"country": country_text(row), "as_name": network_text(row), "campaigns": addresses_cell(named, 2)}


def _query(
    query: Callable[[BaseRepository], Awaitable[list[R]]],
    config: Path | None,
    data_dir: Path | None,
    db: str | None,
) -> list[R]:
    home = common.home_of(config, data_dir=data_dir, db=db)

    async def ask() -> list[R]:
        async with common.repository(home, only_read=True) as repo:
            return await query(repo)

    return common.run(ask)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (tags, sessions, playbooks, attackers):
        app.command()(command)
