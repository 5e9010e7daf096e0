"""Repository, part actors: attackers, the forming of their identities, credentials, fingerprints, recordings.

Everything is commutative and idempotent: first and last times widen. Who is one with whom is worked out in
:mod:`decnet.db.repository.attribution.identities`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import func, select

from decnet.db.repository.attribution.identities import IdentitiesMixin
from decnet.db.repository.base import (
    Row,
    SqlRepository,
    chunks,
    greatest,
    insert_for,
    least,
    replace,
)
from decnet.db.repository.conditions import among
from decnet.db.repository.locks import LOCK_MERGES
from decnet.db.tables import table
from decnet.db.types import as_utc
from decnet.hostile import storable_text
from decnet.ids import identity_id, normalize_ip

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_ATTACKER, _IDENTITY = table("attacker"), table("identity")
_CREDENTIAL, _FINGERPRINT, _RECORDING = table("credential"), table("fingerprint"), table("recording")
_SESSION = table("session")
_ROW_NS = uuid5(NAMESPACE_URL, "decnet:row:v1")
_CREDENTIAL_KEY = (
    "attacker_uuid",
    "decky_id",
    "service",
    "session_id",
    "username",
    "secret_kind",
    "secret_hmac",
)


def _row_id(*parts: object) -> str:
    return str(uuid5(_ROW_NS, json.dumps(parts, sort_keys=True, default=str, ensure_ascii=True)))


_PLACE = ("session_id", "decky_id")
_ADDED = frozenset({"hassh_algorithms", "key_algs", "enc_algs", "mac_algs", "comp_algs", "languages"})
"""Fields of fingerprints that came later: ids of what is stored stay what they are."""


class AttackersMixin(IdentitiesMixin, SqlRepository):
    """``attacker``, ``identity``, ``credential``, ``fingerprint``, ``recording``."""

    async def upsert_attacker(self, attacker_uuid: str, ip: str | None, ts: datetime | float | None) -> None:
        """Sees an attacker at ``ts``: first and last sight widen."""
        await self.upsert_attackers([(attacker_uuid, ip, ts)])

    async def upsert_attackers(
        self,
        sightings: Iterable[tuple[str, str | None, datetime | float | None]],
        ignored: Mapping[str, str] | None = None,
        mentions: Mapping[str, datetime] | None = None,
    ) -> None:
        """Many sightings (attacker_uuid, ip, time) in one statement.

        ``ignored`` names the entry that marks an attacker; a sighting outside of every entry ends the mark.
        ``mentions`` says when somebody spoke of an attacker without having seen it.
        """
        marks, told = ignored or {}, mentions or {}
        rows = [
            {**row, "ignored_by": marks.get(row["attacker_uuid"]), "told_at": told.get(row["attacker_uuid"])}
            for row in _widest(sightings)
        ]
        merge = {"ip": greatest, "first_seen": least, "last_seen": greatest, "ignored_by": replace}
        merge["told_at"] = least
        async with self._write() as session:
            await self._upsert(session, _ATTACKER, rows, merge)

    async def addresses_of_attackers(self, attacker_uuids: Iterable[str]) -> dict[str, str]:
        """The addresses of those attackers of which one is known."""
        theirs = among(_ATTACKER.c.attacker_uuid, sorted(set(attacker_uuids)), self.db.dialect)
        query = select(_ATTACKER.c.attacker_uuid, _ATTACKER.c.ip).where(_ATTACKER.c.ip.is_not(None), theirs)
        async with self._read() as session:
            return dict((await session.execute(query)).tuples().all())

    async def form_identities(
        self, attacker_uuids: Iterable[str], alone: bool = False
    ) -> list[tuple[str, str]]:
        """Gives every attacker its stub identity; (identity_uuid, attacker_uuid) of the new ones only.

        A transaction that locks identities afterwards has to be ``alone`` with them: it holds those it formed.
        """
        members = {identity_id(uuid): uuid for uuid in sorted(set(map(storable_text, attacker_uuids)))}
        formed: list[str] = []
        async with self._write() as session:
            if not (fresh := await self._unformed(session, sorted(members))):
                return []
            # Before rows are held: who merges waits for this lock first, too.
            joined = await self._has_edges(session, fresh)
            await (self._serialise if joined or alone else self._share)(session, LOCK_MERGES)
            for part in chunks(fresh):
                formed += await self._form(session, {key: members[key] for key in part})
            if formed and joined:
                await self._regroup_all(session, formed)
        return [(identity, members[identity]) for identity in sorted(formed)]

    async def _unformed(self, session: AsyncSession, identities: Sequence[str]) -> list[str]:
        formed: set[str] = set()
        query = select(_IDENTITY.c.identity_uuid).where(_IDENTITY.c.attacker_uuid.is_not(None))
        for part in chunks(identities):
            formed.update((await session.execute(query.where(_IDENTITY.c.identity_uuid.in_(part)))).scalars())
        return [identity for identity in identities if identity not in formed]

    async def _form(self, session: AsyncSession, members: dict[str, str]) -> list[str]:
        """A row that a merge made first has no attacker yet, so that forming it still counts as new."""
        fresh = insert_for(self.db.dialect, _IDENTITY).values(
            [{"identity_uuid": i, "attacker_uuid": a} for i, a in members.items()]
        )
        statement = fresh.on_conflict_do_update(
            index_elements=["identity_uuid"],
            set_={"attacker_uuid": fresh.excluded.attacker_uuid},
            where=_IDENTITY.c.attacker_uuid.is_(None),
        ).returning(_IDENTITY.c.identity_uuid)
        return list((await session.execute(statement)).scalars())

    async def ensure_stub_identity_for_attacker(self, attacker_uuid: str) -> str | None:
        """The canonical identity of an attacker, formed when need be; None while the attacker is unknown.

        Deterministic, race-free, follows merges. An identity formed here announces nothing: the
        recorder forms one for every attacker it writes.
        """
        async with self.transaction() as bound, bound._write() as session:
            known = select(_ATTACKER.c.attacker_uuid).where(_ATTACKER.c.attacker_uuid == attacker_uuid)
            if (await session.execute(known)).first() is None:
                return None
            await bound.form_identities([attacker_uuid], alone=True)
            return await bound.canonical_identity(identity_id(storable_text(attacker_uuid)))

    async def upsert_credential(self, credential: Mapping[str, object]) -> str:
        """Keeps one captured credential (keys of ``credential.captured`` and ``ts``); its id."""
        return (await self.upsert_credentials([credential]))[0]

    async def credential_keys(self) -> dict[str | None, int]:
        """How many log-ins were hashed with each key, by its id; None stands for those that are older than ids."""
        key, hashed = _CREDENTIAL.c.key_id, _CREDENTIAL.c.secret_hmac.is_not(None)
        async with self._read() as session:
            found = await session.execute(select(key, func.count()).where(hashed).group_by(key))
            return {name: int(count) for name, count in found}

    async def upsert_credentials(self, credentials: Sequence[Mapping[str, object]]) -> list[str]:
        """Many of them; their ids. A success seen once stays, and so does a row that came without clear text."""
        rows = [_credential_row(credential) for credential in credentials]
        merge = {"success": greatest, "first_seen": least, "last_seen": greatest}
        async with self._write() as session:
            await self._upsert(session, _CREDENTIAL, rows, merge)
        return [row["credential_id"] for row in rows]

    async def upsert_fingerprint(
        self, attacker_uuid: str, kind: str, fields: Mapping[str, object], ts: datetime | float | None
    ) -> str:
        """Keeps one fingerprint of an attacker; its id, which is derived from all but the time and ``_ADDED``.

        ``session_id`` and ``decky_id`` among the fields say where it was seen, and are no part of it.
        """
        where: Row = {name: fields[name] for name in _PLACE if isinstance(fields.get(name), str)}
        fields = {name: value for name, value in fields.items() if name not in _PLACE}
        known = {name: value for name, value in fields.items() if name not in _ADDED}
        row: Row = {"fingerprint_id": _row_id("fingerprint", attacker_uuid, kind, known)}
        row |= {
            "attacker_uuid": attacker_uuid,
            "kind": kind,
            "fields": fields,
            **dict.fromkeys(_PLACE),
            **where,
        }
        async with self._write() as session:
            times = {"first_seen": ts, "last_seen": ts}
            merge = {"first_seen": least, "last_seen": greatest, **dict.fromkeys(_PLACE, least)}
            await self._upsert(session, _FINGERPRINT, [{**row, **times}], merge)
        return str(row["fingerprint_id"])

    async def upsert_recording(self, key: str, session_id: str, data: bytes) -> None:
        """Keeps a recording under its sha256; the same one twice is one row."""
        async with self._write() as session:
            row = {"key": key, "session_id": session_id, "data": data}
            await self._upsert(session, _RECORDING, [row], {"session_id": least})

    async def recording(self, key: str) -> bytes | None:
        """The bytes of a recording, or None."""
        async with self._read() as session:
            found = await session.execute(select(_RECORDING.c.data).where(_RECORDING.c.key == key))
            return found.scalar_one_or_none()

    async def recorded(self, session_ids: Iterable[str]) -> frozenset[str]:
        """Those of some sessions whose recording is stored; one query."""
        which = among(_SESSION.c.session_id, sorted(set(session_ids)), self.db.dialect)
        joined = _SESSION.join(_RECORDING, _RECORDING.c.key == _SESSION.c.keystrokes_ref)
        async with self._read() as session:
            found = await session.execute(select(_SESSION.c.session_id).select_from(joined).where(which))
            return frozenset(found.scalars())

    async def missing_recordings(self, limit: int) -> list[tuple[str, str]]:
        """(key, session_id) of recordings that sessions name and nobody has copied yet, newest first."""
        here = select(_RECORDING.c.key).where(_RECORDING.c.key == _SESSION.c.keystrokes_ref).exists()
        query = select(_SESSION.c.keystrokes_ref, _SESSION.c.session_id)
        query = query.where(_SESSION.c.keystrokes_ref.is_not(None), ~here)
        async with self._read() as session:
            rows = await session.execute(query.order_by(_SESSION.c.ended_at.desc()).limit(limit))
            return [(key, session_id) for key, session_id in rows]


def _widest(sightings: Iterable[tuple[str, str | None, datetime | float | None]]) -> list[Row]:
    """One row for each attacker: a busy one would otherwise cost a statement for every event."""
    rows: dict[str, Row] = {}
    for uuid, ip, ts in sightings:
        moment, address = as_utc(ts), normalize_ip(ip) if ip else None
        row = rows.setdefault(
            uuid, {"attacker_uuid": uuid, "ip": address, "first_seen": moment, "last_seen": moment}
        )
        row["ip"] = max(row["ip"] or "", address or "") or None
        for name, pick in (("first_seen", min), ("last_seen", max)):
            known = [t for t in (row[name], moment) if t is not None]
            row[name] = pick(known, default=None)
    return list(rows.values())


def _credential_row(credential: Mapping[str, object]) -> Row:
    row = {key: credential.get(key) for key in _CREDENTIAL_KEY}
    success = credential.get("success")
    row["credential_id"] = _row_id("credential", *row.values())
    row["success"] = success if isinstance(success, bool) else None
    row["key_id"] = credential.get("key_id")
    row["secret"] = credential.get("secret")
    row["first_seen"] = row["last_seen"] = credential.get("ts")
    return row
