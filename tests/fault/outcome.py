"""What came of a log: rows, read beside every engine, and news; nothing lost, nothing doubled, no news of nothing."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import make_url

from decnet.bus.base import Event
from decnet.bus.nats.connection import NatsBus
from decnet.bus.nats.server import EmbeddedServer
from decnet.config import BusSettings
from decnet.errors import BusUnavailable

WELL_S = 60
"""Seconds in which nodes that were started again must be able to read the stream."""
ALL = 10_000_000
_NEWS = ("ttp.tagged", "ttp.session.judged", "identity.formed", "credential.reuse.detected")


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query on a database that others write; none while it has no such table."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        try:
            with closing(sqlite3.connect(f"file:{parsed.database}?mode=ro", uri=True, timeout=30)) as db:
                return db.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []
    return asyncio.run(_pg_rows(url, query))


async def _pg_rows(url: str, query: str) -> list[tuple[Any, ...]]:
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        connection = await asyncpg.connect(dsn)
    except (OSError, asyncpg.PostgresError):
        return []
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    except (asyncpg.UndefinedTableError, asyncpg.PostgresConnectionError, OSError):
        return []
    finally:
        await connection.close(timeout=5)


def sessions_in(url: str) -> int:
    """Sessions that are stored whole at this moment."""
    found = rows(url, "SELECT count(*) FROM session WHERE ended_at IS NOT NULL")
    return int(found[0][0]) if found else 0


Commands = Counter[tuple[str, str]]


def written(lines: Iterable[str]) -> Commands:
    """Session and text of every command line in a Cowrie log; a session without one counts with none."""
    found: Commands = Counter()
    for line in lines:
        record = json.loads(line)
        if record["eventid"] == "cowrie.command.input":
            found[record["session"], record["input"]] += 1
        elif record["eventid"] == "cowrie.session.connect":
            found[record["session"], ""] += 1
    return found


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a database holds; one that was disturbed is the same as one that was not."""

    commands: Commands
    """Like :func:`written`: what is stored twice counts twice."""
    tags: Counter[tuple[Any, ...]]
    """What each tag is about, without its id: what is doubled counts twice."""
    uuids: frozenset[str]
    credentials: int
    letters: list[tuple[Any, ...]]


def outcome(url: str) -> Outcome:
    """What a database holds now."""
    sessions = rows(url, "SELECT sensor_session FROM session")
    commands = rows(
        url, "SELECT s.sensor_session, c.command_text FROM command c JOIN session s USING (session_id)"
    )
    about = "source_kind, source_id, rule_id, rule_version, technique_id, sub_technique_id"
    tags = rows(url, f"SELECT uuid, {about} FROM ttp_tag")
    return Outcome(
        Counter([*((session, "") for (session,) in sessions), *commands]),
        Counter(tag[1:] for tag in tags),
        frozenset(str(tag[0]) for tag in tags),
        len(rows(url, "SELECT credential_id FROM credential")),
        rows(url, "SELECT worker, topic, reason FROM dead_letter"),
    )


def same(found: Outcome, calm: Outcome, made: Commands) -> None:
    """Nothing lost and nothing doubled: every command of the log once, and exactly the tags of an undisturbed run."""
    assert found.commands - made == Counter(), "doubled"
    assert made - found.commands == Counter(), "lost"
    assert found.tags - calm.tags == Counter(), "tags that an undisturbed run has not, or twice"
    assert calm.tags - found.tags == Counter(), "tags lost"
    assert found.uuids == calm.uuids
    assert found.credentials == calm.credentials
    assert found.letters == []


async def heard(bus: NatsBus) -> list[Event]:
    """All durable news of workers that the stream holds."""
    return [event for topic in _NEWS for event in await bus.read_back(topic, ALL)]


async def heard_of(data_dir: Path) -> list[Event]:
    """The same of an embedded server whose engine has ended."""
    server = EmbeddedServer(data_dir)
    await server.start()
    try:
        return await heard_at(server.url, token=server.token)
    finally:
        await server.stop()


async def heard_at(url: str, *, token: str | None = None, **login: Any) -> list[Event]:
    """The same of a server that runs, or of nodes of which the last that died finds the others meanwhile."""
    bus = NatsBus(url, token=token, settings=BusSettings(read_back_window=ALL, **login))
    await bus.connect()
    try:
        async with asyncio.timeout(WELL_S):
            while True:
                try:
                    return await heard(bus)
                except BusUnavailable:
                    await asyncio.sleep(0.2)
    finally:
        await bus.close()


def _named(events: Sequence[Event], topic: str, key: str) -> set[str]:
    found: set[str] = set()
    for event in events:
        if event.topic == topic:
            said = event.payload[key]
            found |= set(said) if isinstance(said, list) else {said}
    return found


@dataclass(frozen=True, slots=True)
class News:
    """Ids that news name and no row has, and rows that no news name; both by kind."""

    of_nothing: dict[str, set[str]]
    untold: dict[str, set[str]]


def news_beside_rows(events: Sequence[Event], url: str) -> News:
    """Read the news first, then the rows: rows only come, so news of a row that is not there are of nothing."""
    kinds = {
        "tags": ("ttp.tagged", "tag_uuids", "SELECT uuid FROM ttp_tag"),
        "stories": ("ttp.session.judged", "session_id", "SELECT session_id FROM session_story"),
        "identities": ("identity.formed", "identity_uuid", "SELECT identity_uuid FROM identity"),
        "reuse": ("credential.reuse.detected", "attacker_uuid", "SELECT attacker_uuid FROM attacker"),
    }
    of_nothing, untold = {}, {}
    for kind, (topic, key, query) in kinds.items():
        told, there = _named(events, topic, key), {str(row[0]) for row in rows(url, query)}
        of_nothing[kind] = told - there
        untold[kind] = set() if kind == "reuse" else there - told
    return News(
        {kind: ids for kind, ids in of_nothing.items() if ids},
        {kind: ids for kind, ids in untold.items() if ids},
    )
