"""From a message that somebody kept to the event that its arrival would have been; pure.

Who sent it stands in the uppermost ``Received`` line that names a host outside: it was written by the operator's own
server, and what stands below it may be made up.
"""

from __future__ import annotations

import re
from collections.abc import Container
from email.utils import getaddresses
from hashlib import sha256

from decnet import ids
from decnet.addresses import fold, special
from decnet.bus import topics
from decnet.bus.base import Event
from decnet.events.attacker import Fingerprinted
from decnet.events.fields import epoch
from decnet.mail.facts import SERVICE, Envelope, link_local, received
from decnet.mail.mime import Part, whole
from decnet.sensors.values import Refusal

PRODUCER = "inbox"
_LINES = 20
"""Lines of a kind in the head of one message that are looked at."""
_RECIPIENTS = 1000
_ADDRESS = re.compile(r"[\[(](?:IPv6:)?([0-9a-f.:]{2,45})(?:%\w{1,16})?[\])]", re.IGNORECASE)
_FOR = ("delivered-to", "x-original-to", "to", "cc")


def mail_events(data: bytes, ts: float, known_bad: Container[str] = ()) -> list[Event] | Refusal:
    """The events of one message; ``ts`` (epoch seconds) counts where it names no time of its own."""
    message = whole(data)
    came = _came_from(message)
    if came is None:
        return Refusal("no_peer")
    peer, line = came
    moment = epoch(line.rpartition(";")[2].strip()) or epoch(message.header("date")) or ts
    sender = message.header("return-path") or ""
    recipients = _recipients(message)
    envelope = Envelope(peer, None, sender, len(recipients), recipients)
    ident = ids.event_id(PRODUCER, f"message|{sha256(data).hexdigest()}")
    record = received(data, envelope, ident, known_bad)
    mail = Event(topics.email_topic(topics.EMAIL_RECEIVED), record.build(), "received", ident, moment)
    leaks = {found for one in _ADDRESS.findall(line) if (found := link_local(one))}
    return [mail, *(_leak(peer, address, moment) for address in sorted(leaks))]


def _leak(peer: str, address: str, ts: float) -> Event:
    attacker = ids.attacker_id(peer)
    record = Fingerprinted(
        attacker_uuid=attacker, attacker_ip=peer, type="ipv6_leak", service=SERVICE, address=address
    )
    ident = ids.event_id(PRODUCER, f"{attacker}|ipv6_leak|{address}")
    return Event(topics.attacker(topics.ATTACKER_FINGERPRINTED), record.build(), "ipv6_leak", ident, ts)


def _came_from(message: Part) -> tuple[str, str] | None:
    """The address of the host outside that handed the message over, and the line that says so."""
    for line in message.headers("received", _LINES):
        before = re.split(r"(?:\A|\s)by\s", line, maxsplit=1)[0]
        for text in _ADDRESS.findall(before):
            address = fold(text)
            if address is not None and special(address) in (None, "documentation"):
                return address, line
    return None


def _recipients(message: Part) -> tuple[str, ...]:
    """The addresses that a message names as those that it is for, each once."""
    lines = [line for name in _FOR for line in message.headers(name, _LINES)]
    try:
        found = [address.lower() for _, address in getaddresses(lines) if "@" in address]
    except (RecursionError, IndexError):  # comments within comments
        return ()
    return tuple(dict.fromkeys(found))[:_RECIPIENTS]
