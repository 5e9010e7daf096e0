"""The lifters: taggers that run the rules whose ``match.kind`` has their prefix.

The rule engine does the judging, the states and the tags; a lifter adds to the payload what its
predicates need to know of the past. Facts that a lifter sets are never taken from the event itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from decnet.delivered import keyed_pairs
from decnet.errors import SensorError
from decnet.hostile import storable_text
from decnet.keyed import KEY_FILE, load_key
from decnet.logs import get_logger
from decnet.telemetry import child
from decnet.ttp.base import TaggerEvent, TolerantTagger, TTPTag
from decnet.ttp.lifters import facts
from decnet.ttp.lifters.credential import DEFAULT_PAIR
from decnet.ttp.lifters.email import SEEN_AGE
from decnet.ttp.rule_engine import RuleEngine, Snapshot

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.ttp import MailBody

_log = get_logger(__name__)


class Lifter(TolerantTagger):
    """Judges its kinds by the lifter rules of the engine that all lifters share."""

    def __init__(self, engine: RuleEngine) -> None:
        self.engine = engine

    async def _tag_impl(self, event: TaggerEvent) -> list[TTPTag]:
        return await self.tag_batch([event])

    async def tag_batch(
        self,
        events: Sequence[TaggerEvent],
        snapshot: Snapshot | None = None,
        repo: BaseRepository | None = None,
    ) -> list[TTPTag]:
        """The tags of a batch by one snapshot, off the event loop; ``repo`` is bound to the batch's transaction."""
        judged = snapshot or self.engine.snapshot()
        prepared = await self.prepared(events, repo)
        return await asyncio.to_thread(self._lift, prepared, judged) if prepared else []

    async def prepared(
        self, events: Sequence[TaggerEvent], repo: BaseRepository | None
    ) -> Sequence[TaggerEvent]:
        """The events with what predicates need to know beyond the payload."""
        return events

    def _lift(self, events: Sequence[TaggerEvent], snapshot: Snapshot) -> list[TTPTag]:
        now = datetime.now(UTC)
        out: list[TTPTag] = []
        for event in events:
            with child("ttp.eval", source_kind=event.source_kind):
                out += self.engine.lift(event, self.name, snapshot, now)
        return out


class BehavioralLifter(Lifter):
    """What sessions, requests and e-mails do."""

    name: ClassVar[str] = "behavioral"
    HANDLES: ClassVar[frozenset[str]] = frozenset({"session", "email", "http_request"})


class IntelLifter(Lifter):
    """What others say about an address."""

    name: ClassVar[str] = "intel"
    HANDLES: ClassVar[frozenset[str]] = frozenset({"intel"})


class CanaryLifter(Lifter):
    """Who set a canary off."""

    name: ClassVar[str] = "canary"
    HANDLES: ClassVar[frozenset[str]] = frozenset({"canary_fingerprint"})


class IdentityLifter(Lifter):
    """What the attackers of one identity do together."""

    name: ClassVar[str] = "identity"
    HANDLES: ClassVar[frozenset[str]] = frozenset({"identity"})


class HttpFingerprintLifter(Lifter):
    """Fingerprints of tools."""

    name: ClassVar[str] = "http_fingerprint"
    HANDLES: ClassVar[frozenset[str]] = frozenset({"http_fingerprint"})


class Ipv6LeakLifter(Lifter):
    """Addresses that leaked."""

    name: ClassVar[str] = "ipv6_leak"
    HANDLES: ClassVar[frozenset[str]] = frozenset({"ipv6_leak"})


_LONGEST_HASH, _LONGEST_ID = 128, 200
"""Characters; a row of PostgreSQL's index holds some 2,700 bytes."""
_LATEST = 1e11
"""Epoch seconds beyond any e-mail."""
_BodyKey = tuple[str, str]
_RowKey = tuple[str, str, str]


class EmailLifter(Lifter):
    """E-mails; remembers which body an attacker has sent when."""

    name: ClassVar[str] = "email"
    HANDLES: ClassVar[frozenset[str]] = frozenset({"email"})

    async def prepared(
        self, events: Sequence[TaggerEvent], repo: BaseRepository | None
    ) -> Sequence[TaggerEvent]:
        """Sets ``simhash_age_s``; adds stored e-mails that an earlier one, delivered late, now makes a second one."""
        keys = {event: key for event in events if (key := _body_key(event)) is not None}
        if repo is None or not keys:
            return [_with(event, SEEN_AGE, None) for event in events]
        await repo.remember_email_bodies([_body_row(event, key) for event, key in keys.items()])
        rows = await repo.email_bodies(sorted(set(keys.values())))
        ages = _ages(rows)
        here = {(*key, storable_text(event.source_id)): event for event, key in keys.items()}
        own = [_with(event, SEEN_AGE, None) for event in events if event not in keys]
        own += [_with(event, SEEN_AGE, ages[key].age if key in ages else None) for key, event in here.items()]
        later = (row for row in rows if _row_key(row) in ages and _row_key(row) not in here)
        return own + [
            _stored_mail(row, age.age) for row in later if (age := ages[_row_key(row)]).after in here
        ]


def _with(event: TaggerEvent, name: str, value: Any) -> TaggerEvent:
    return event._replace(payload={**event.payload, name: value})


def _body_key(event: TaggerEvent) -> _BodyKey | None:
    """Attacker and body; None for an e-mail that cannot be remembered (a key longer than any real one)."""
    simhash = facts.text(event.payload, "body_simhash").strip().lower()
    if not simhash or not event.attacker_uuid or len(simhash) > _LONGEST_HASH:
        return None
    if max(len(event.attacker_uuid), len(event.source_id)) > _LONGEST_ID:
        return None
    return storable_text(event.attacker_uuid), simhash


def _body_row(event: TaggerEvent, key: _BodyKey) -> MailBody:
    count = facts.number(event.payload, "rcpt_count")
    return {
        "attacker_uuid": key[0],
        "simhash": key[1],
        "source_id": storable_text(event.source_id),
        "ts": min(max(facts.number(event.payload, "ts") or 0.0, 0.0), _LATEST),
        "rcpt_count": int(count or 0),
        "session_id": event.session_id,
        "decky_id": event.decky_id,
    }


def _row_key(row: MailBody) -> _RowKey:
    return row["attacker_uuid"], row["simhash"], row["source_id"]


class _Age(NamedTuple):
    """Seconds since the e-mail before with the same body, and which one that was."""

    age: float
    after: _RowKey


def _ages(rows: Sequence[MailBody]) -> dict[_RowKey, _Age]:
    """For rows in order of (ts, source_id); the first one with a body has no age."""
    last: dict[_BodyKey, MailBody] = {}
    ages: dict[_RowKey, _Age] = {}
    for row in rows:
        before = last.get(key := (row["attacker_uuid"], row["simhash"]))
        if before is not None:
            ages[_row_key(row)] = _Age(row["ts"] - before["ts"], _row_key(before))
        last[key] = row
    return ages


def _stored_mail(row: MailBody, age: float) -> TaggerEvent:
    payload = {"body_simhash": row["simhash"], "rcpt_count": row["rcpt_count"], SEEN_AGE: age}
    return TaggerEvent(
        "email", row["source_id"], row["attacker_uuid"], None, row["session_id"], row["decky_id"], payload
    )


class CredentialLifter(Lifter):
    """Credentials; knows the default pairs by the hashes that the sensors of this data directory make."""

    name: ClassVar[str] = "credential"
    HANDLES: ClassVar[frozenset[str]] = frozenset({"credential", "auth_attempt"})

    def __init__(
        self, engine: RuleEngine, data_dir: Path | None = None, key_file: Path | None = None
    ) -> None:
        super().__init__(engine)
        self._data_dir, self._key_file = data_dir, key_file
        self._hashed: frozenset[tuple[str, str]] | None = None

    async def prepared(
        self, events: Sequence[TaggerEvent], repo: BaseRepository | None
    ) -> Sequence[TaggerEvent]:
        """Sets ``default_pair``."""
        return [_with(event, DEFAULT_PAIR, self._is_default(event.payload)) for event in events]

    def _is_default(self, payload: facts.Payload) -> bool:
        pair = (facts.text(payload, "username"), facts.text(payload, "secret_hmac"))
        return bool(pair[1]) and pair in self._hashed_pairs()

    def _hashed_pairs(self) -> frozenset[tuple[str, str]]:
        """The list under the key in use here; empty while there is no key."""
        there = self._data_dir is not None and (self._key_file or self._data_dir / KEY_FILE).exists()
        if self._hashed is None and self._data_dir is not None and there:
            try:
                key = load_key(self._data_dir, self._key_file)
            except SensorError as error:
                _log.warning("default credentials cannot be told", error=str(error))
                self._data_dir = None
                return frozenset()
            self._hashed = keyed_pairs(key)
        return self._hashed or frozenset()


def all_lifters(
    engine: RuleEngine, data_dir: Path | None = None, key_file: Path | None = None
) -> list[Lifter]:
    """Every lifter, in the order in which their tags stand."""
    return [
        BehavioralLifter(engine),
        IntelLifter(engine),
        EmailLifter(engine),
        CanaryLifter(engine),
        IdentityLifter(engine),
        CredentialLifter(engine, data_dir, key_file),
        HttpFingerprintLifter(engine),
        Ipv6LeakLifter(engine),
    ]
