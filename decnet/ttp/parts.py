"""Sessions that come in several events are judged as far as they are known: each part with all the others.

What a part had is kept in the database until the others are here, and some time longer, since any of them may be
delivered again: by any engine, in any order, the last one to be judged sees everything, as back-fill does. The
recorder's rows would not do, they may come later than the part that is judged.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from decnet.bounds import bit
from decnet.bus.base import Event
from decnet.db.repository.recorder.pieces import endings
from decnet.db.repository.recorder.pieces import whole as as_whole
from decnet.events.fields import epoch
from decnet.events.session import COUNTED, SessionEnded, position
from decnet.hostile import storable_text
from decnet.runtime.received import Received, received

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.ttp import PartToJudge

MAX_KEPT = 256
"""Parts of one session that are judged together; a sensor makes a hundred of its longest ones."""
PARTS_APART = "parts_apart"
"""The bound's name in health: parts of longer sessions, judged with the facts of their own."""
_OF_A_PART = frozenset({"part", "parts", "piece", "torn", "span", *SessionEnded.LISTS})


class Together(NamedTuple):
    """A batch in which each session that came in parts stands once.

    ``whole`` are the sessions of which everything is known, ``lacking`` those of which parts have not come.
    One that came in one event and was not closed is neither: it may have gone on since; nor is one that was read in
    pieces: there may be more of it in the database, which back-fill knows.
    """

    batch: Sequence[Received]
    whole: frozenset[str] = frozenset()
    lacking: frozenset[str] = frozenset()


def all_known(batch: Sequence[Received]) -> Together:
    """A batch of stored sessions."""
    ended = (one.record for one in batch if isinstance(one.record, SessionEnded))
    return Together(batch, frozenset(record.session_id for record in ended))


def in_parts(session: SessionEnded) -> bool:
    """Whether there may be more of the session than this."""
    return session.parts > 1 or session.piece is not None


async def together(batch: Sequence[Received], repo: BaseRepository, keep_s: float) -> Together:
    """The batch with all that is known of the sessions in it; ``repo`` is bound to a transaction.

    ``keep_s`` is how long (seconds, wall clock) a part waits for the others.
    """
    came: dict[str, list[tuple[Received, SessionEnded]]] = defaultdict(list)
    rest: list[Received] = []
    for one in batch:
        if isinstance(one.record, SessionEnded) and _kept(one.record):
            came[storable_text(one.record.session_id)].append((one, one.record))
        else:
            rest.append(one)
    whole = {one.record.session_id for one in rest if _final(one.record)}
    lacking = {one.record.session_id for one in rest if _apart(one.record)}
    alone = await _keep(came, repo, time.time() + keep_s)
    rest += [came.pop(ident)[-1][0] for ident in alone]
    for ident, rows in (await _known(sorted(came), repo)).items():
        last, record = came[ident][-1]
        rest.append(await asyncio.to_thread(_as_one, last.event, rows))
        if not all(_complete(some) for some in _endings(rows).values()):
            lacking.add(record.session_id)
        elif all(_from_its_beginning(row["body"]) for row in rows):
            whole.add(record.session_id)
    return Together(rest, frozenset(whole), frozenset(lacking))


async def forget_parts(repo: BaseRepository, _bus: object = None) -> None:
    """Forgets parts that nobody waits for any longer."""
    await repo.purge_parts_to_judge(time.time())


def _from_its_beginning(body: Mapping[str, Any]) -> bool:
    """Whether an ending is of a session as it was, not of what a sensor found of it in another reading."""
    return not body.get("torn") and not body.get("piece")


def _final(record: object) -> TypeGuard[SessionEnded]:
    """Whether it is a session that came in one event and cannot have gone on."""
    closed = isinstance(record, SessionEnded) and record.end_reason == "closed" and not record.torn
    return isinstance(record, SessionEnded) and closed and not in_parts(record)


def _apart(record: object) -> TypeGuard[SessionEnded]:
    """Whether it is a part that is judged alone."""
    return isinstance(record, SessionEnded) and in_parts(record)


def _kept(session: SessionEnded) -> bool:
    """Whether a session is judged together with what else there is of it; one beyond the bound is not, and counts."""
    bit(PARTS_APART, session.parts > MAX_KEPT)
    return in_parts(session) and session.parts <= MAX_KEPT


async def _keep(
    came: Mapping[str, Sequence[tuple[Received, SessionEnded]]], repo: BaseRepository, keep_until: float
) -> list[str]:
    """Keeps the parts that came; the sessions of which there is nothing but what just came, in one event."""
    if not came:
        return []
    await repo.hold_sessions(came)
    await repo.add_parts_to_judge(
        [_row(ident, record, keep_until) for ident, some in came.items() for _, record in some]
    )
    counts = await repo.count_parts_to_judge(sorted(came))
    return [ident for ident, some in came.items() if some[-1][1].parts == 1 == counts[ident]]


async def _known(sessions: Sequence[str], repo: BaseRepository) -> dict[str, list[PartToJudge]]:
    """All parts of some sessions that are kept, without those that later ones took the place of; these are forgotten."""
    known: dict[str, list[PartToJudge]] = defaultdict(list)
    for row in await repo.parts_to_judge(sessions):
        known[row["session_id"]].append(row)
    gone = {(ident, age) for ident, rows in known.items() for age in _outdated(rows)}
    if gone:
        await repo.forget_parts_to_judge(sorted(gone))
    return {
        ident: [row for row in rows if (ident, row["generation"]) not in gone]
        for ident, rows in known.items()
    }


def _row(ident: str, session: SessionEnded, keep_until: float) -> PartToJudge:
    """Of the endings of one piece the one of more lines is the later one, of like ones that of a later time."""
    ended = f"{float(session.ended_at):020.6f}"
    return {
        "session_id": ident,
        "generation": f"{session.piece or ''}|{session.lines:09d}|{ended}|{session.parts:06d}",
        "part": session.part,
        "parts": session.parts,
        "body": session.build(),
        "keep_until": keep_until,
    }


def _endings(rows: Iterable[PartToJudge]) -> dict[str, list[PartToJudge]]:
    """Parts by the ending that they are of, earlier endings first."""
    found: dict[str, list[PartToJudge]] = defaultdict(list)
    for row in rows:
        found[row["generation"]].append(row)
    return dict(sorted(found.items()))


def _complete(parts: Sequence[PartToJudge]) -> bool:
    return len(parts) >= parts[0]["parts"]


def _outdated(rows: Iterable[PartToJudge]) -> set[str]:
    """Endings that a later one of the same piece, which is there as a whole, took the place of."""
    pieces: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for age, some in _endings(rows).items():
        pieces[age.partition("|")[0]].append((age, _complete(some)))
    gone = set()
    for ages in pieces.values():
        latest = max((age for age, complete in ages if complete), default="")
        gone |= {age for age, _ in ages if age < latest}
    return gone


def _as_one(event: Event, rows: Sequence[PartToJudge]) -> Received:
    """One event of all parts, put together as the recorder does."""
    bodies = [row["body"] for row in rows]
    there = [
        {**row, "parts": 1, "body": {**row["body"], "facts": _facts(row["body"])}} for row in rows
    ]  # what is there of an ending is what there is to judge
    said = {name: value for name, value in as_whole(endings(there)).items() if value is not None}
    said |= said.pop("facts", {})
    head = {name: value for name, value in bodies[-1].items() if name not in _OF_A_PART}
    payload = {**head, **said, "commands": _commands(rows)}
    return received(replace(event, payload=payload))


def _facts(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in COUNTED if body.get(name)}


def _commands(rows: Sequence[PartToJudge]) -> list[dict[str, Any]]:
    """All commands once, in the order in which they are stored."""
    placed = {
        _id(row, place, command): (epoch(command.get("ts")), position(row["part"], place), command)
        for row in reversed(rows)
        for place, command in enumerate(_list(row["body"].get("commands")))
    }
    order = sorted(
        placed.items(), key=lambda item: (-1.0 if item[1][0] is None else item[1][0], item[1][1], item[0])
    )
    return [{**command, "id": ident} for ident, (_, _, command) in order]


def _list(value: Any) -> list[dict[str, Any]]:
    return value if isinstance(value, list) else []


def _id(row: PartToJudge, place: int, command: Mapping[str, Any]) -> str:
    return command.get("id") or f"{row['session_id']}#cmd{place}"
