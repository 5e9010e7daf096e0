"""Credentials: one attempt with one secret, and reuse of one; the secret itself only where the operator wants it."""

from __future__ import annotations

from typing import ClassVar

from decnet.events.fields import Count, Epoch
from decnet.events.record import FromAttacker


class Captured(FromAttacker, frozen=True, kw_only=True, omit_defaults=True):
    """``credential.captured``: ``secret_hmac`` is a keyed hash in hex; ``secret`` is there only by the setting
    ``credentials.keep_clear``.
    """

    decky_id: str | None = None
    service: str | None = None
    session_id: str | None = None
    username: str | None = None
    secret_hmac: str | None = None
    secret_kind: str | None = None
    key_id: str | None = None
    """Which key the hash was made with: hashes of two keys tell nothing about each other."""
    success: bool | None = None
    sensor_session: str | None = None
    """The honeypot's own id of the session."""
    connected_at: Epoch | None = None
    torn: bool = False
    """Whether the line of the session's connection is not known."""
    secret: str | None = None


class ReuseDetected(FromAttacker, frozen=True, kw_only=True, omit_defaults=True):
    """``credential.reuse.detected``: one login name and secret on several targets."""

    ANCHORED_BY_IDENTITY: ClassVar = True
    ALWAYS: ClassVar = (
        "username", "secret_kind", "reuse_count", "target_count", "attacker_uuids", "deckies", "services",
    )  # fmt: skip

    credential_id: str | None = None
    """What its tags stand on; the event's own id where it is missing."""
    username: str | None = None
    secret_kind: str | None = None
    reuse_count: Count = 0
    target_count: Count = 0
    attacker_uuids: list[str] = []
    deckies: list[str] = []
    services: list[str] = []
    first_seen: Epoch | None = None
    """When the attacker tried them first."""

    def __post_init__(self) -> None:
        if not self.attacker_uuid and not self.identity_uuid and not any(self.attacker_uuids):
            raise ValueError("neither attacker_uuid nor attacker_uuids")
