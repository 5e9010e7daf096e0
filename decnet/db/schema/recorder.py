"""The tables of what attackers did: the recorder's rows.

Every id is derived from the evidence, so that a row written twice is one row.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, LargeBinary
from sqlalchemy import text as sql
from sqlmodel import Field

from decnet.db.schema.columns import Stored, json_column, moment, number, real, text, text_key

MARKED = sql("ignored_by IS NOT NULL")
"""What is left out of lists: indices of these rows alone are small, and asked before all else."""


class Attacker(Stored, table=True):
    """One source address; ``ignored_by`` is the entry that marked it (``ignored_source``), of sessions too.

    ``told_at`` is when somebody first spoke of it without having seen it (a look-up): what stands for both times
    as long as nobody saw it.
    """

    __tablename__ = "attacker"
    __table_args__ = (
        Index("ix_attacker_ip", "ip"),
        Index("ix_attacker_last_seen", "last_seen"),
        Index("ix_attacker_marked", "attacker_uuid", sqlite_where=MARKED, postgresql_where=MARKED),
    )
    attacker_uuid: str = text_key()
    ip: str | None = text(None)
    first_seen: datetime | None = moment(None)
    last_seen: datetime | None = moment(None)
    ignored_by: str | None = text(None)
    told_at: datetime | None = moment(None)


class AttackerIntel(Stored, table=True):
    """What providers say of an attacker: ``payload`` as one ``attacker.intel.enriched`` would have it.

    ``parts`` are what it was put together from, each with its own time (:mod:`decnet.events.intel`); NULL in rows that
    are older. ``ts`` and ``version`` are those of the newest part, ``oldest`` is the time of the oldest.
    """

    __tablename__ = "attacker_intel"
    __table_args__ = (Index("ix_attacker_intel_ts", "ts"),)
    attacker_uuid: str = text_key()
    version: str = text()
    ts: float = real()
    payload: dict[str, Any] | None = json_column()
    parts: dict[str, Any] | None = json_column()
    oldest: float | None = real(None)


class Identity(Stored, table=True):
    """One actor as far as known. ``attacker_uuid`` is NULL until the recorder has formed it.

    ``merged_into`` is the canonical identity of its group, never a step on the way there.
    """

    __tablename__ = "identity"
    __table_args__ = (
        Index("ix_identity_attacker", "attacker_uuid"),
        Index("ix_identity_merged_into", "merged_into"),
    )
    identity_uuid: str = text_key()
    attacker_uuid: str | None = text(None)
    merged_into: str | None = text(None)


class IdentityMerge(Stored, table=True):
    """Every merge that others announced; the canonical identity is worked out from all that are ``live``.

    One that was taken back is not. News of a smaller ``seq`` is old. The row of an identity with itself, never
    live, says with which number it was last parted. What an operator's word stands against stays live and joins
    nothing while the word stands.
    """

    __tablename__ = "identity_merge"
    __table_args__ = (Index("ix_identity_merge_winner", "winner_uuid"),)
    loser_uuid: str = text_key()
    winner_uuid: str = text_key()
    seq: int = number(0)
    live: bool = Field(default=True)


class SessionRow(Stored, table=True):
    """One session. A row may start as a mere mark (``tagged_at``) when another worker was first.

    Without ``connected_at`` the line of its connection is not known, and ``started_at`` may be later than its start.
    """

    __tablename__ = "session"
    __table_args__ = (
        Index("ix_session_attacker", "attacker_uuid", "ignored_by", "decky_id"),
        Index("ix_session_started", "started_at"),
        Index("ix_session_tagged", "tagged_at", "ended_at"),
        Index("ix_session_keystrokes", "keystrokes_ref"),
        Index("ix_session_sensor_session", "sensor_session"),
        Index("ix_session_marked", "session_id", sqlite_where=MARKED, postgresql_where=MARKED),
    )
    session_id: str = text_key()
    attacker_uuid: str | None = text(None)
    attacker_ip: str | None = text(None)
    decky_id: str | None = text(None)
    service: str | None = text(None)
    protocol: str | None = text(None)
    started_at: datetime | None = moment(None)
    ended_at: datetime | None = moment(None)
    end_reason: str | None = text(None)
    duration_s: float | None = real(None)
    command_count: int | None = number(None)
    commands_dropped: int | None = number(None)
    items_dropped: int | None = number(None)
    connected_at: datetime | None = moment(None)
    client: dict[str, Any] | None = json_column()
    auth: dict[str, Any] | None = json_column()
    downloads: list[Any] | None = json_column()
    uploads: list[Any] | None = json_column()
    forwards: list[Any] | None = json_column()
    inputs: list[Any] | None = json_column()
    exploits: list[Any] | None = json_column()
    joined: list[Any] | None = json_column()
    extras: list[Any] | None = json_column()
    facts: dict[str, Any] | None = json_column()
    """What decoys other than shells count or were asked for, and what found no room."""
    sensor_session: str | None = text(None)
    keystrokes_ref: str | None = text(None)
    tagged_at: datetime | None = moment(None)
    ignored_by: str | None = text(None)


class SessionPart(Stored, table=True):
    """One ``session.ended`` event without its commands.

    A session that went on after its end is ended again, later: ``generation`` (end time, or piece and lines read;
    number of parts) tells the two apart, and the greatest complete one counts, of each piece.
    """

    __tablename__ = "session_part"
    session_id: str = text_key()
    generation: str = text_key()
    part: int = number(primary_key=True, sa_column_kwargs={"autoincrement": False})
    parts: int = number()
    digest: str = text()
    body: dict[str, Any] | None = json_column()


class Command(Stored, table=True):
    """One command line. ``command_id`` is the event's own id, else ``<session>#cmd<i>``."""

    __tablename__ = "command"
    __table_args__ = (Index("ix_command_session", "session_id", "ts"), Index("ix_command_ts", "ts"))
    command_id: str = text_key()
    session_id: str = text()
    position: int | None = number(None)
    command_text: str = text()
    ts: datetime | None = moment(None)
    user: str | None = text(None)
    uid: str | None = text(None)
    src: str | None = text(None)
    pwd: str | None = text(None)
    success: bool | None = Field(default=None)


class Credential(Stored, table=True):
    """One attempt with one secret: its keyed hash; ``secret`` is the clear text, kept only by a setting of the operator's."""

    __tablename__ = "credential"
    __table_args__ = (
        Index("ix_credential_secret", "secret_kind", "secret_hmac"),
        Index("ix_credential_attacker", "attacker_uuid", "first_seen"),
        Index("ix_credential_last_seen", "last_seen"),
        Index("ix_credential_first", "secret_hmac", "username", "first_seen"),
        Index("ix_credential_session", "session_id"),
        Index(
            "ix_credential_let_in",
            *("secret_hmac", "username", "first_seen", "last_seen", "session_id"),
            sqlite_where=sql("success IS 1"),
            postgresql_where=sql("success IS true"),
        ),
    )
    credential_id: str = text_key()
    attacker_uuid: str | None = text(None)
    decky_id: str | None = text(None)
    service: str | None = text(None)
    session_id: str | None = text(None)
    username: str | None = text(None)
    secret_hmac: str | None = text(None)
    secret: str | None = text(None)
    secret_kind: str | None = text(None)
    key_id: str | None = text(None)
    """Which key its hash was made with; NULL in rows that are older than keys had ids."""
    success: bool | None = Field(default=None)
    first_seen: datetime | None = moment(None)
    last_seen: datetime | None = moment(None)


class Fingerprint(Stored, table=True):
    """One fingerprint of an attacker's tool; ``fields`` are the kind's own. Session and decky say where it was seen."""

    __tablename__ = "fingerprint"
    __table_args__ = (Index("ix_fingerprint_attacker", "attacker_uuid"),)
    fingerprint_id: str = text_key()
    attacker_uuid: str = text()
    kind: str = text()
    fields: dict[str, Any] | None = json_column()
    session_id: str | None = text(None)
    decky_id: str | None = text(None)
    first_seen: datetime | None = moment(None)
    last_seen: datetime | None = moment(None)


class Recording(Stored, table=True):
    """A tty recording, compressed as it came; ``key`` is its sha256 in hex."""

    __tablename__ = "recording"
    key: str = text_key()
    session_id: str | None = text(None)
    data: bytes = Field(sa_type=LargeBinary)
