"""Rows about what attackers did: sessions, commands, credentials, and what is counted over them.

Times are aware datetimes but where a key says epoch seconds.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from decnet.db.rows import JsonObject


class StoredCommand(TypedDict):
    """One command line with the keys of ``session.ended``, and its position in the session."""

    id: str
    position: int | None
    command_text: str
    ts: datetime | None
    user: str | None
    uid: str | None
    src: str | None
    pwd: str | None
    success: bool | None


class EndedCommand(TypedDict, total=False):
    """One command of a ``session.ended`` payload; what is not known is left out. ``ts`` is epoch seconds."""

    id: str
    command_text: str
    ts: float
    user: str
    uid: str
    src: str
    pwd: str
    success: bool


class RareFacts(TypedDict, total=False):
    """What few sessions have: counts of decoys other than shells, what they were asked for, what found no room.

    Without ``connected_at`` (epoch seconds) the line of the session's connection is not known.
    """

    op_text: str
    note_text: str
    bytes_out: int
    request_count: int
    rows_read: int
    bytes_read: int
    path: str
    signals: list[str]
    llmnr_poison_count: int
    tftp_filename: str
    commands_dropped: int
    items_dropped: int
    connected_at: float


class SessionFacts(RareFacts):
    """What a stored session is beside its start; times are epoch seconds.

    The lists hold what :mod:`decnet.events.session` says of their elements; what decoys other than shells count
    (``SessionEnded.op_text`` to ``tftp_filename``) stands beside them.
    """

    session_id: str
    attacker_uuid: str
    attacker_ip: str | None
    decky_id: str | None
    service: str | None
    protocol: str | None
    sensor_session: str | None
    ended_at: float | None
    end_reason: str | None
    duration_s: float | None
    command_count: int | None
    client: JsonObject | None
    auth: JsonObject | None
    keystrokes_ref: str | None
    downloads: list[JsonObject] | None
    uploads: list[JsonObject] | None
    forwards: list[JsonObject] | None
    inputs: list[JsonObject] | None
    exploits: list[JsonObject] | None
    joined: list[JsonObject] | None
    extras: list[JsonObject] | None
    part: int
    parts: int
    commands: list[EndedCommand]


class EndedPayload(SessionFacts):
    """A stored session as the payload of ``attacker.session.ended``."""

    started_at: float | None


class CredentialAttempt(TypedDict):
    """One secret that was tried; ``first_seen`` is epoch seconds."""

    credential_id: str
    attacker_uuid: str
    decky_id: str | None
    service: str | None
    session_id: str | None
    username: str | None
    secret_kind: str | None
    secret_hmac: str | None
    success: bool | None
    first_seen: float


class SecretSpread(TypedDict):
    """A secret of an identity, with how many login names and targets it was tried on."""

    identity_uuid: str
    secret_kind: str | None
    secret_hmac: str
    account_count: int
    target_count: int


class ReusedCredential(TypedDict):
    """A login name and a secret that one attacker tried on several targets."""

    attacker_uuid: str
    username: str | None
    secret_kind: str | None
    secret_hmac: str
    target_count: int
    first_seen: datetime | None


class CredentialUser(TypedDict):
    """Who tried a credential, and where."""

    attacker_uuid: str
    decky_id: str | None
    service: str | None


class ScoreCounts(TypedDict):
    """What an attacker's score is made of."""

    event_count: int
    service_count: int
    decky_count: int
    credential_count: int
