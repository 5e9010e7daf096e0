"""What a session brought that may never have been seen before: hashes, hosts of URLs, keys, its playbook; pure.

Only named here: whether it was the first time is worked out when it is shown, over the stored history by event time.
Techniques and credentials have rows of their own and are asked there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from decnet.bounds import bit
from decnet.events.session import SessionEnded
from decnet.hostile import visible
from decnet.ttp.facts import host_of
from decnet.ttp.moves import STORY_CAPPED, Moves

HASH, HOST, KEY, PLAYBOOK = "hash", "host", "key", "playbook"
MAX_THINGS = 128
"""Things of one session; those beyond are counted."""
VALUE_CHARS = 200
_KEY = re.compile(r"(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp\d{3})\s+(AAAA[A-Za-z0-9+/]{20,20000}={0,2})")
_KEYS_OF_A_LINE = 16


class Thing(NamedTuple):
    """One thing that can be new."""

    kind: str
    value: str


def things_of(session: SessionEnded, moves: Moves, playbook: str | None) -> list[Thing]:
    """The things of a session, each once."""
    found = list(dict.fromkeys(_things(session, moves, playbook)))
    bit(STORY_CAPPED, len(found) - MAX_THINGS)
    return found[:MAX_THINGS]


def _things(session: SessionEnded, moves: Moves, playbook: str | None) -> Iterator[Thing]:
    if playbook:
        yield Thing(PLAYBOOK, playbook)
    for digest in (*(u.sha256 for u in session.uploads), *(d.sha256 for d in session.downloads)):
        if digest:
            yield Thing(HASH, visible(digest.lower(), VALUE_CHARS))
    for host in (*(host_of(item.url) for item in session.downloads), *moves.asked):
        if host:
            yield Thing(HOST, visible(host, VALUE_CHARS))
    yield from (Thing(KEY, key) for key in _keys(command.command_text for command in session.commands))


def _keys(lines: Iterable[str]) -> Iterator[str]:
    """The fingerprints of the public keys that lines hold, as ``ssh-keygen -l`` writes them."""
    for line in lines:
        if "AAAA" not in line:
            continue
        for place, found in enumerate(_KEY.finditer(line)):
            if place >= _KEYS_OF_A_LINE:
                break
            yield _fingerprint(found[1])


def _fingerprint(blob: str) -> str:
    try:
        raw = base64.b64decode(blob + "=" * (-len(blob) % 4))
    except (ValueError, binascii.Error):
        raw = blob.encode()
    return "SHA256:" + base64.b64encode(hashlib.sha256(raw).digest()).decode().rstrip("=")
