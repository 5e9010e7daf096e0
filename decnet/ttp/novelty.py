"""What a session brought that may never have been seen before: hashes, hosts of URLs, keys, its playbook; pure.

Only named here: whether it was the first time is worked out when it is shown, over the stored history by event time.
Techniques and credentials have rows of their own and are asked there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from decnet.bounds import bit
from decnet.events.session import SessionEnded
from decnet.hostile import visible
from decnet.shell.assets import host_of, public_keys
from decnet.ttp.moves import STORY_CAPPED, Moves

HASH, HOST, KEY, PLAYBOOK = "hash", "host", "key", "playbook"
MAX_THINGS = 128
"""Things of one session; those beyond are counted."""
VALUE_CHARS = 200


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
    yield from (Thing(KEY, key) for key in public_keys(command.command_text for command in session.commands))
