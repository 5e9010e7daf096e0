"""Repository, part session: one session with everything that its page tells, and what of sessions may be an indicator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, or_, select

from decnet.db.repository.baits import BaitsMixin
from decnet.db.repository.base import shaped
from decnet.db.repository.conditions import ALL, Whose, among, attacker_is, visit_is
from decnet.db.repository.intel import IntelMixin
from decnet.db.repository.lists.evidence import EvidenceMixin, Since
from decnet.db.repository.lists.members import MembersMixin
from decnet.db.repository.lists.novel import BEGINNING, history_of
from decnet.db.repository.lists.struck import StruckMixin
from decnet.db.repository.recorder.attackers import AttackersMixin
from decnet.db.repository.recorder.naming import NamingMixin
from decnet.db.repository.recorder.sessions import IN_ORDER, SessionsMixin
from decnet.db.repository.ttp.stories import StoriesMixin
from decnet.db.rows.session import Alike, Attempt, Evidence, SessionRows, Shared
from decnet.db.tables import table
from decnet.db.types import as_utc
from decnet.keyed import login_label
from decnet.shell.assets import names_of_file

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from decnet.db.rows.recorder import EndedPayload

_SESSION, _STORY, _THING = table("session"), table("session_story"), table("session_thing")
_ATTACKER, _CREDENTIAL, _COMMAND = table("attacker"), table("credential"), table("command")
_TERM, _VALUE = table("link_term"), table("link_value")
MAX_ATTEMPTS = 100
"""Tries to log in that are told of a session."""
MAX_SHARED = 50
_SHARED = ("client", "key", "sha256", "host", "script", "tunnel")
"""Families of what a source may share with others; what belongs to nobody in particular is left out."""
AT_ONCE = 500
"""Sessions whose evidence is read at once."""


class SessionMixin(
    IntelMixin, AttackersMixin, SessionsMixin, NamingMixin, MembersMixin, StoriesMixin, BaitsMixin, EvidenceMixin,
    StruckMixin,
):  # fmt: skip
    """Questions over many tables about one session, or for its indicators."""

    async def session_page(self, text: str, *, clear: bool = False) -> SessionRows | None:
        """One session by its id, the beginning of that, or the honeypot's own id; None when there is none.

        ``clear`` shows secrets where they were kept. Raises AmbiguousId, which lists those that the text names.
        """
        session_id = await self.session_named(text)
        payload = await self.session_payload(session_id) if session_id else None
        if session_id is None or payload is None:
            return None
        attacker, key = payload["attacker_uuid"], payload["keystrokes_ref"]
        identity = (await self.identities_now([attacker])).get(attacker)
        sizes = await self.identity_sizes([identity] if identity else [])
        files = [*(payload["downloads"] or ()), *(payload["uploads"] or ())]
        names = [value for item in files for _, value in names_of_file(item)]
        told = await self.session_told(session_id)
        async with self._read() as session:
            attempts = await _attempts(session, session_id, clear=clear)
            place, of = await _place(session, payload)
            new = place == 1 and await _is_new(session, attacker)
            hosts = select(_THING.c.value).where(_THING.c.session_id == session_id, _THING.c.kind == "host")
            hosts_found = list((await session.execute(hosts.order_by(_THING.c.value))).scalars())
            alike = await _alike(session, payload, told["playbook"])
        return SessionRows(
            payload,
            await self.list_tags(session=session_id, limit=0, ignored=True),
            told,
            await self.first_times(session_id),
            await self.intel_said_of(*names),
            await self.recording(key) if key else None,
            attempts,
            identity,
            sizes.get(identity or "", 1),
            new,
            place,
            of,
            alike,
            hosts_found,
            await self.struck_in(session_id),
            await self.bait_reads(session_id=session_id, limit=0),
        )

    async def evidence(
        self,
        since: Since = None,
        attacker: str | None = None,
        sessions: Sequence[str] | None = None,
        ignored: bool = False,
        *,
        whose: Whose = ALL,
        until: Since = None,
        clear: bool = False,
        at_once: int = AT_ONCE,
    ) -> AsyncGenerator[list[Evidence]]:
        """Sessions with what may be an indicator, ``at_once`` at a time, by their ids; of a span those alive in it."""
        where: list[ColumnElement[bool]] = [
            _SESSION.c.attacker_uuid.is_not(None),
            *attacker_is(_SESSION.c.attacker_uuid, attacker),
            *visit_is(_SESSION.c.attacker_uuid, _SESSION.c.session_id, whose, self.db.dialect),
        ]
        where += [] if ignored else [_SESSION.c.ignored_by.is_(None)]
        if since is not None:
            where.append(func.coalesce(_SESSION.c.ended_at, _SESSION.c.started_at) >= as_utc(since))
        if until is not None:
            where.append(_SESSION.c.started_at < as_utc(until))
        if sessions is not None:
            where.append(among(_SESSION.c.session_id, sessions, self.db.dialect))
        names = ("session_id", "attacker_ip", "started_at", "downloads", "uploads")
        query = select(*(_SESSION.c[name] for name in names)).where(*where).order_by(_SESSION.c.session_id)
        last = ""
        while True:
            async with self._read() as session:
                rows = await self._rows(session, query.where(_SESSION.c.session_id > last).limit(at_once))
                ids = [row["session_id"] for row in rows]
                texts = await self._evidence_texts(session, ids)
                hosts = await self._evidence_hosts(session, ids)
                logins = await self._evidence_logins(session, ids, clear=clear)
            found = (
                {
                    **row,
                    "downloads": row["downloads"] or [],
                    "uploads": row["uploads"] or [],
                    "commands": texts.get(row["session_id"], []),
                    "hosts": hosts.get(row["session_id"], []),
                    "logins": logins.get(row["session_id"], []),
                }
                for row in rows
            )
            yield [shaped(Evidence, row) for row in found]
            if len(rows) < at_once:
                return
            last = ids[-1]

    async def _evidence_texts(self, session: AsyncSession, ids: Sequence[str]) -> dict[str, list[str]]:
        which = among(_COMMAND.c.session_id, ids, self.db.dialect)
        query = select(_COMMAND.c.session_id, _COMMAND.c.command_text).where(which).order_by(*IN_ORDER)
        return _grouped(await session.execute(query))

    async def _evidence_hosts(self, session: AsyncSession, ids: Sequence[str]) -> dict[str, list[str]]:
        which = among(_THING.c.session_id, ids, self.db.dialect)
        query = select(_THING.c.session_id, _THING.c.value).where(which, _THING.c.kind == "host")
        return _grouped(await session.execute(query.order_by(_THING.c.session_id, _THING.c.value)))

    async def _evidence_logins(
        self, session: AsyncSession, ids: Sequence[str], *, clear: bool
    ) -> dict[str, list[str]]:  # fmt: skip
        which = among(_CREDENTIAL.c.session_id, ids, self.db.dialect)
        columns = [_CREDENTIAL.c[name] for name in ("session_id", "username", "secret_hmac", "secret")]
        query = select(*columns).where(which, _CREDENTIAL.c.success.is_(True))
        rows = await session.execute(query.order_by(_CREDENTIAL.c.session_id, _CREDENTIAL.c.credential_id))
        return _grouped(
            (owner, login_label(name, hmac, secret if clear else None)) for owner, name, hmac, secret in rows
        )


def _grouped(rows: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for owner, value in rows:
        found[owner].append(value)
    return found


async def _attempts(session: AsyncSession, session_id: str, *, clear: bool) -> list[Attempt]:
    """The tries of a session, those that were let in before the bound bites; in order of time."""
    names = ("username", "secret_hmac", "secret", "secret_kind", "success", "first_seen")
    query = select(*(_CREDENTIAL.c[name] for name in names)).where(_CREDENTIAL.c.session_id == session_id)
    order = (func.coalesce(_CREDENTIAL.c.success, False).desc(), _CREDENTIAL.c.first_seen)
    rows = await session.execute(query.order_by(*order, _CREDENTIAL.c.credential_id).limit(MAX_ATTEMPTS))
    found = [
        shaped(
            Attempt,
            {
                "login": login_label(name, hmac, secret if clear else None),
                "username": name,
                "secret_kind": kind,
                "success": success,
                "at": at,
            },
        )
        for name, hmac, secret, kind, success, at in rows
    ]
    return sorted(found, key=lambda one: one["at"].timestamp() if one["at"] else 0.0)


async def _place(session: AsyncSession, payload: EndedPayload) -> tuple[int, int]:
    """Which session of its source it is, and of how many."""
    own = _SESSION.c.attacker_uuid == payload["attacker_uuid"]
    began = payload["started_at"]
    query = select(func.count()).where(own)
    of = int((await session.execute(query)).scalar_one())
    if began is None:
        return of, of
    before = query.where(
        or_(
            _SESSION.c.started_at < as_utc(began),
            (_SESSION.c.started_at == as_utc(began)) & (_SESSION.c.session_id <= payload["session_id"]),
        )
    )
    return int((await session.execute(before)).scalar_one()), of


async def _is_new(session: AsyncSession, attacker: str) -> bool:
    """Whether a source was first seen after the first day of the history."""
    first_seen = select(_ATTACKER.c.first_seen).where(_ATTACKER.c.attacker_uuid == attacker)
    seen, began = (await session.execute(first_seen)).scalar(), (await history_of(session))[0]
    return seen is not None and began is not None and seen >= began + BEGINNING


async def _alike(session: AsyncSession, payload: EndedPayload, playbook: str | None) -> Alike:
    session_id, attacker = payload["session_id"], payload["attacker_uuid"]
    before = others = 0
    if playbook:
        own = select(_STORY.c.seen_at).where(_STORY.c.session_id == session_id).scalar_subquery()
        same = _STORY.c.playbook == playbook
        earlier = select(func.count()).where(same, _STORY.c.seen_at < own)
        before = int((await session.execute(earlier)).scalar_one())
        sources = select(func.count(_STORY.c.attacker_uuid.distinct()))
        others = int(
            (await session.execute(sources.where(same, _STORY.c.attacker_uuid != attacker))).scalar_one()
        )
    mine, other = _THING, _THING.alias()
    joined = mine.outerjoin(
        other,
        (other.c.kind == mine.c.kind)
        & (other.c.value == mine.c.value)
        & (other.c.session_id != mine.c.session_id),
    )
    files = select(mine.c.value, func.count(other.c.session_id)).select_from(joined)
    files = files.where(mine.c.session_id == session_id, mine.c.kind == "hash").group_by(mine.c.value)
    found = {value: int(count) for value, count in await session.execute(files)}
    return {
        "playbook_before": before,
        "playbook_sources": others,
        "files": found,
        "shared": await _shared(session, attacker),
    }


async def _shared(session: AsyncSession, attacker: str) -> list[Shared]:
    """What linking knows the source by, with the other addresses that have it."""
    other = _VALUE.alias()
    count = select(func.count()).where(other.c.term_id == _VALUE.c.term_id, other.c.attacker_uuid != attacker)
    joined = _VALUE.join(_TERM, _TERM.c.term_id == _VALUE.c.term_id)
    query = (
        select(_TERM.c.family, _TERM.c.value, count.correlate(_VALUE).scalar_subquery())
        .select_from(joined)
        .where(_VALUE.c.attacker_uuid == attacker, _TERM.c.family.in_(_SHARED))
        .order_by(_TERM.c.family, _TERM.c.value)
        .limit(MAX_SHARED)
    )
    return [
        {"family": family, "value": value, "addresses": int(number)}
        for family, value, number in await session.execute(query)
    ]
