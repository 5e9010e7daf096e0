"""What one connection to the mail decoy gives: events with ids that are derived from it; pure."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from decnet import ids
from decnet.bus import topics
from decnet.bus.base import Event
from decnet.events.attacker import Fingerprinted
from decnet.events.credential import Captured
from decnet.hostile import storable_text
from decnet.keyed import key_id, keyed_hash
from decnet.mail.facts import SERVICE, Envelope, received

PRODUCER = "decoys"
MAX_NAME = 256
"""Characters of a login name."""
MAX_SECRET = 1024
"""Characters of a secret whose clear text is kept."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Who connected to whom, and when (epoch seconds)."""

    decky: str
    peer: str
    port: int
    began: float

    @property
    def attacker(self) -> str:
        """Id of the attacker behind the peer."""
        return ids.attacker_id(self.peer)

    @property
    def key(self) -> str:
        """What tells the connection from every other one."""
        return f"{SERVICE}|{self.decky}|{self.peer}|{self.port}|{self.began:.6f}"


def message_event(
    connection: Connection,
    number: int,
    data: bytes,
    envelope: Envelope,
    ts: float,
    known_bad: Container[str] = (),
) -> Event:
    """``email.received`` for a connection's message of a number, at epoch seconds."""
    ident = ids.event_id(PRODUCER, f"{connection.key}|message|{number}")
    record = received(data, envelope, ident, known_bad)
    return Event(topics.email_topic(topics.EMAIL_RECEIVED), record.build(), "received", ident, ts)


def leak_event(connection: Connection, address: str, ts: float) -> Event:
    """``attacker.fingerprinted`` for a link-local address in a greeting, once for each decky and attacker."""
    record = Fingerprinted(
        attacker_uuid=connection.attacker,
        attacker_ip=ids.normalize_ip(connection.peer),
        type="ipv6_leak",
        decky_id=connection.decky,
        service=SERVICE,
        address=address,
    )
    mark = f"{SERVICE}|{connection.decky}|{connection.attacker}|ipv6_leak|{address}"
    topic = topics.attacker(topics.ATTACKER_FINGERPRINTED)
    return Event(topic, record.build(), "ipv6_leak", ids.event_id(PRODUCER, mark), ts)


def login_event(
    connection: Connection, login: bytes, secret: bytes, key: bytes, ts: float, *, keep_clear: bool = False
) -> Event:
    """``credential.captured``: the secret as a keyed hash; its clear text only with ``keep_clear``."""
    name = storable_text(login.decode("utf-8", "replace"))[:MAX_NAME]
    said = storable_text(secret.decode("utf-8", "replace"))
    digest = keyed_hash(key, "password", said)
    record = Captured(
        attacker_uuid=connection.attacker,
        attacker_ip=ids.normalize_ip(connection.peer),
        decky_id=connection.decky,
        service=SERVICE,
        username=name,
        secret_hmac=digest,
        secret_kind="password",
        key_id=key_id(key),
        success=True,
        secret=said[:MAX_SECRET] if keep_clear else None,
    )
    ident = ids.event_id(PRODUCER, f"{connection.key}|login|{name}|{digest}")
    topic = topics.credential(topics.CREDENTIAL_CAPTURED)
    return Event(topic, record.build(), "password", ident, ts)
