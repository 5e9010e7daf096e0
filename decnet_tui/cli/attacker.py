"""``attacker``: one attacker on one page: where from, what it did, what it brought, and how common each of that is."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decnet.attack.catalogue import load_catalogue
from decnet.errors import DecnetError
from decnet.hostile import visible
from decnet_tui.actorpage import linked_lines, where_line
from decnet_tui.attackerrows import attacker_rows
from decnet_tui.cli import common

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.lists import ListedCredential, ListedSession
    from decnet.intel.places import Places

SHOWN = 20
"""Sessions, log-ins and values on the page; JSON has all."""
_LONGEST = 200


def attacker(
    who: Annotated[str, typer.Argument(metavar="IP|UUID", help="Address or uuid of an attacker.")],
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """One attacker: where from, sessions with their stories, techniques, log-ins, files, and how common each is."""
    from decnet.intel.places import Places  # here: other commands start sooner

    settings = common.settings_of(config, data_dir=data_dir, db=db)

    async def ask() -> dict[str, Any]:
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
) -> dict[str, Any]:
    """The row of ``attackers`` and all that stands behind it. Raises DecnetError for an attacker that is not known."""
    rows = await attacker_rows(repo, places, {"attacker": who, "limit": 1, "ignored": True}, {})
    if not rows:
        raise DecnetError(f"no attacker {visible(who, 60)}: `decnet-tui attackers` lists them")
    (row,) = rows
    uuid = row["attacker_uuid"]
    tags = await repo.list_tags(attacker=uuid, limit=0, ignored=True)
    counts = Counter(tag["sub_technique_id"] or tag["technique_id"] for tag in tags)
    sessions = await repo.list_sessions(attacker=uuid, limit=0, ignored=True)
    return {
        **row,
        "place": places.lookup(row["attacker_ip"]).row(time.time()) if row["country"] or row["asn"] else None,
        "clients": await repo.clients_of(uuid),
        "hosts": await repo.things_of(uuid, "host"),
        "hashes": await repo.things_of(uuid, "hash"),
        "technique_counts": [{"technique": t, "tags": n} for t, n in sorted(counts.items(), key=lambda c: (-c[1], c[0]))],
        "logins": _logins(await repo.list_credentials(attacker=uuid, limit=0, ignored=True, clear=clear)),
        "sessions": [_session(one) for one in sessions],
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


def lines_of(told: Mapping[str, Any]) -> Iterator[str]:
    """The page for people; text of attackers with control characters written out."""
    yield where_line(told, told["place"] or {})
    yield (
        f"seen {_day(told['first_seen'])} .. {_day(told['last_seen'])}  {_counted(told['session_count'], 'session')} on "
        f"{_counted(told['decky_count'], 'decky', 'deckies')}  {told['severity'] or 'not judged'}"
    )
    yield f"identity {told['identity_uuid'] or '-'}  attacker {told['attacker_uuid']}"
    yield from linked_lines(told)
    for one in told["reputation"]:
        yield f"  {visible(one['source'], 60)}: {one['verdict']}  {_day(one['at'])}"
    yield from _common("clients", told["clients"])
    yield from _common("hosts that it fetched from", told["hosts"])
    yield from _common("files (sha256)", told["hashes"])
    yield from _section("techniques", [_technique(one) for one in told["technique_counts"]])
    yield from _section("log-ins", [_login(one) for one in told["logins"]])
    yield from _section("sessions, newest first", [_visit(one) for one in told["sessions"]])


def _common(title: str, values: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Values with how many addresses have them: what many have says little of one."""
    lines = [
        f"{visible(one['value'], _LONGEST)}  (at {_counted(one['attackers'], 'address', 'addresses')})"
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


def _technique(one: Mapping[str, Any]) -> str:
    return f"{one['technique']:<10} {load_catalogue().name(one['technique'])}  {one['tags']}"


def _login(one: Mapping[str, Any]) -> str:
    return f"{visible(one['login'], 80)}  {one['times']}{'  let in' if one['success'] else ''}"


def _visit(one: Mapping[str, Any]) -> str:
    said = visible(one["story_line"] or "", _LONGEST)
    return (
        f"{_moment(one['started_at'])}  {one['session_id'][:8]}  {one['severity'] or '-':<8}  {said}".rstrip()
    )


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d}" if at else "-"


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else "-"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(attacker)
