"""``session``: everything that is stored of one session, with its tags, as one page or as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from decnet.db.rows.session import SessionRows
from decnet.db.rows.story import NOT_JUDGED
from decnet.errors import DecnetError
from decnet.hostile import visible
from decnet_tui.cli import common
from decnet_tui.model.session_page import LISTS, fact_lines, shown, story_lines
from decnet_tui.model.struck import struck_text

_HEAD = (
    "session_id", "sensor_session", "attacker_ip", "attacker_uuid", "decky_id", "service", "protocol", "started_at",
    "ended_at", "end_reason", "duration_s", "client", "auth", "keystrokes_ref",
)  # fmt: skip
_OTHER = frozenset(
    {
        *NOT_JUDGED,
        "first_times",
        "part",
        "parts",
        "commands",
        "command_count",
        "tags",
        "services",
        "identity_uuid",
        "place",
        "attempts",
        "alike",
        "bait_reads",
        "struck",
    }
)
_LONGEST = 2000


def session(
    ident: Annotated[
        str, typer.Argument(metavar="ID", help="Session id, a beginning of one, or the honeypot's own.")
    ],
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """One session: commands with their techniques, input, files, tunnels, exploits and whatever else was logged."""
    home = common.home_of(config, data_dir=data_dir, db=db)

    async def ask() -> dict[str, Any]:
        async with common.repository(home, only_read=True) as repo:
            found = await repo.sessions_named(ident)
            if len(found) != 1:
                raise DecnetError(_not_one(ident, found))
            rows = await repo.session_page(found[0])
            return told_of(rows) if rows is not None else {}

    told = common.run(ask)
    if as_json:
        typer.echo(common.to_json(told))
        return
    for line in lines_of(told):
        typer.echo(line)


def told_of(rows: SessionRows) -> dict[str, Any]:
    """The session as one object: its payload, what it amounts to, its tags, who had what of it before."""
    return {
        **rows.payload,
        **rows.told,
        "first_times": rows.first_times,
        "tags": list(rows.tags),
        "services": list(rows.services),
        "identity_uuid": rows.identity,
        "place": {"number": rows.place, "of": rows.of, "new": rows.new},
        "attempts": list(rows.attempts),
        "alike": rows.alike,
        "struck": rows.struck,
        "bait_reads": list(rows.baits),
    }


def _not_one(ident: str, found: list[str]) -> str:
    if not found:
        return f"no session {ident}: `decnet-tui sessions` lists them"
    return "\n".join((f"{ident} is the name of several sessions:", *found))


def lines_of(told: Mapping[str, Any]) -> Iterator[str]:
    """The page for people; text of attackers with control characters written out."""
    for name in _HEAD:
        if told.get(name) not in (None, "", {}):
            yield f"{name:<15} {shown(name, told[name])}"
    yield from story_lines(told)
    if told.get("struck"):
        yield f"{'keys':<15} {struck_text(told['struck'])}"
    for name, value in told.items():
        if name not in (*_HEAD, *LISTS) and name not in _OTHER and value is not None:
            yield f"{name:<15} {shown(name, value)}"
    tags: dict[str, list[str]] = {}
    for tag in told.get("tags", ()):
        technique = str(tag["sub_technique_id"] or tag["technique_id"])
        tags.setdefault(str(tag["source_id"]), []).append(f"{technique} ({tag['rule_id']})")
    yield from _commands(told, tags)
    for ident, line in fact_lines(told, told.get("services", ())):
        yield f"{line}  {' '.join(tags.pop(ident, ()))}".rstrip()
    for bait in told.get("bait_reads", ()):
        yield f"bait.read {shown('ts', bait['at'].timestamp())}  {visible(bait['path'], _LONGEST)}, token {bait['token_id']}"
    for source, techniques in tags.items():
        yield f"tags      {' '.join(techniques)}  of {visible(source, _LONGEST)}"


def _commands(told: Mapping[str, Any], tags: dict[str, list[str]]) -> Iterator[str]:
    for command in told.get("commands") or ():
        techniques = " ".join(tags.pop(str(command["id"]), ()))
        text = visible(command["command_text"], _LONGEST)
        yield f"{shown('ts', command.get('ts'))}  {text}  {techniques}".rstrip()


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(session)
