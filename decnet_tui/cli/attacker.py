"""``attacker``: one attacker on one page: where from, what it did, what it brought, and how common each of that is."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import typer

from decnet.attack.catalogue import load_catalogue
from decnet.db.rows.linking import CampaignName, ListedIdentity
from decnet.db.rows.lists import Often
from decnet.db.rows.struck import StruckSessions
from decnet.errors import AmbiguousId, DecnetError
from decnet.hostile import visible
from decnet_tui.cli import common
from decnet_tui.model.actor_page import linked_lines, where_line
from decnet_tui.model.attackers import AttackerRow, attacker_rows
from decnet_tui.model.struck import struck_by_text
from decnet_tui.model.words import counted, day, stamp

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.lists import ListedCredential, ListedSession
    from decnet.intel.places import Places


class TechniqueTags(TypedDict):
    """A technique and its tags."""

    technique: str
    tags: int


class AttackerPage(AttackerRow):
    """The row of ``attackers`` and all that stands behind it."""

    place: dict[str, Any] | None
    """As of ``intel lookup``, with sources and ages."""
    clients: list[Often]
    hosts: list[Often]
    hashes: list[Often]
    technique_counts: list[TechniqueTags]
    logins: list[dict[str, Any]]
    sessions: list[dict[str, Any]]
    struck: list[StruckSessions]
    """How the keys of its newest recorded sessions came."""
    identity: ListedIdentity | None
    campaigns_named: list[CampaignName]


SHOWN = 20
"""Sessions, log-ins and values on the page; JSON has all."""
_LONGEST = 200


def attacker(
    who: Annotated[
        str,
        typer.Argument(metavar="IP|UUID", help="Address of an attacker, its uuid or the beginning of that."),
    ],
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """One attacker: where from, sessions with their stories, techniques, log-ins, files, and how common each is."""
    from decnet.intel.places import Places  # here: other commands start sooner

    settings = common.settings_of(config, data_dir=data_dir, db=db)

    async def ask() -> AttackerPage:
        places = await asyncio.to_thread(Places.of, settings)
        async with common.repository(settings, only_read=True) as repo:
            return await attacker_page(repo, places, who, clear=settings.credentials.keep_clear)

    told = common.run(ask)
    if as_json:
        typer.echo(common.to_json(told))
        return
    for line in lines_of(told):
        typer.echo(line)


async def attacker_page(
    repo: BaseRepository, places: Places, who: str, *, clear: bool = False
) -> AttackerPage:
    """The row of ``attackers`` and all that stands behind it. Raises DecnetError for an attacker that is not known."""
    from decnet.db.repository.lists.linked import MAX_NAMED, several

    rows = await attacker_rows(repo, places, {"attacker": who, "limit": MAX_NAMED, "ignored": True}, {})
    if not rows:
        raise DecnetError(f"no attacker {visible(who, 60)}: `decnet-tui attackers` lists them")
    if len(rows) > 1:
        raise AmbiguousId(several("attackers", who, [str(one["attacker_uuid"]) for one in rows]))
    (row,) = rows
    uuid = row["attacker_uuid"]
    tags = await repo.list_tags(attacker=uuid, limit=0, ignored=True)
    counts = Counter(tag["sub_technique_id"] or tag["technique_id"] for tag in tags)
    sessions = await repo.list_sessions(attacker=uuid, limit=0, ignored=True)
    return {
        **row,
        "place": places.lookup(row["attacker_ip"]).row(time.time()) if row["attacker_ip"] and (row["country"] or row["asn"]) else None,
        "clients": await repo.clients_of(uuid),
        "hosts": await repo.things_of(uuid, "host"),
        "hashes": await repo.things_of(uuid, "hash"),
        "technique_counts": [{"technique": t, "tags": n} for t, n in sorted(counts.items(), key=lambda c: (-c[1], c[0]))],
        "logins": _logins(await repo.list_credentials(attacker=uuid, limit=0, ignored=True, clear=clear)),
        "sessions": [_session(one) for one in sessions],
        "struck": await repo.struck_by(uuid),
        "identity": await repo.get_identity(row["identity_uuid"]) if row["identity_uuid"] else None,
        "campaigns_named": (await repo.campaigns_by_attacker([uuid])).get(uuid, []),
    }  # fmt: skip


def _logins(tried: Sequence[ListedCredential]) -> list[dict[str, Any]]:
    """Log-ins, those that were let in first, then by how often they were tried."""
    times: Counter[str] = Counter(one["login"] for one in tried)
    let_in = {one["login"] for one in tried if one["success"]}
    order = sorted(times, key=lambda login: (login not in let_in, -times[login], login))
    return [{"login": login, "times": times[login], "success": login in let_in} for login in order]


def _session(row: ListedSession) -> dict[str, Any]:
    names = ("session_id", "sensor_session", "decky_id", "service", "started_at", "duration_s", "command_count", "tag_count",
             "severity", "severity_reason", "story_line", "playbook")  # fmt: skip
    return {name: row[name] for name in names}  # type: ignore[literal-required]


def lines_of(told: AttackerPage) -> Iterator[str]:
    """The page for people; text of attackers with control characters written out."""
    yield where_line(told, told["place"] or {})
    yield (
        f"seen {day(told['first_seen'])} .. {day(told['last_seen'])}  {counted(told['session_count'], 'session')} on "
        f"{counted(told['decky_count'], 'decoy')}  {told['severity'] or 'not judged'}"
    )
    yield f"identity {told['identity_uuid'] or '-'}  attacker {told['attacker_uuid']}"
    if keys := struck_by_text(told["struck"]):
        yield f"keys     {keys}"
    yield from linked_lines(told)
    for one in told["reputation"]:
        yield f"  {visible(one['source'], 60)}: {one['verdict']}  {day(one['at'])}"
    yield from _common("clients", told["clients"])
    yield from _common("hosts that it fetched from", told["hosts"])
    yield from _common("files (sha256)", told["hashes"])
    yield from _section("techniques", [_technique(one) for one in told["technique_counts"]])
    yield from _section("log-ins", [_login(one) for one in told["logins"]])
    yield from _section("sessions, newest first", [_visit(one) for one in told["sessions"]])


def _common(title: str, values: Sequence[Often]) -> Iterator[str]:
    """Values with how many addresses have them: what many have says little of one."""
    lines = [
        f"{visible(one['value'], _LONGEST)}  (at {counted(one['attackers'], 'address', 'addresses')})"
        for one in values
    ]
    yield from _section(title, lines)


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    if not lines:
        return
    more = f", {SHOWN} of {len(lines)} (--json has all)" if len(lines) > SHOWN else ""
    yield ""
    yield f"{title}{more}"
    for line in lines[:SHOWN]:
        yield f"  {line}"


def _technique(one: TechniqueTags) -> str:
    return f"{one['technique']:<10} {load_catalogue().name(one['technique'])}  {one['tags']}"


def _login(one: Mapping[str, Any]) -> str:
    return f"{visible(one['login'], 80)}  {one['times']}{'  let in' if one['success'] else ''}"


def _visit(one: Mapping[str, Any]) -> str:
    said = visible(one["story_line"] or "", _LONGEST)
    return (
        f"{stamp(one['started_at'])}  {one['session_id'][:8]}  {one['severity'] or '-':<8}  {said}".rstrip()
    )


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(attacker)
