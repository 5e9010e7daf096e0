"""Sessions for linking: read from logs through the sensor, or made by hand; and how a partition is compared."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from decnet.attribution.linking import Features, Linker, Login, features_of
from decnet.config import Settings
from decnet.events.session import SessionEnded
from decnet.ids import attacker_id
from decnet.sensors.replay import iter_events

Partition = frozenset[frozenset[str]]


def from_log(lines: Sequence[dict[str, Any]], folder: Path) -> list[Features]:
    """The features of the sessions in the lines of a Cowrie log, read as the sensor reads it."""
    log = folder / "cowrie.json"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    refused: list[str] = []
    parts: dict[str, list[SessionEnded]] = {}
    logins: dict[str, list[Login]] = {}
    for event in iter_events(log, Settings(data_dir=folder), refused):
        said = event.payload
        if event.topic == "attacker.session.ended":
            parts.setdefault(said["session_id"], []).append(SessionEnded.parse(said, []))
        elif event.topic == "credential.captured":
            one = Login(said["username"], said["secret_hmac"], said["secret_kind"])
            logins.setdefault(said["session_id"], []).append(one)
    assert refused == []
    return [features_of(found, logins.get(session, ())) for session, found in parts.items()]


def session(
    address: str, at: float = 0.0, steps: Iterable[str] = (), logins: Iterable[int] = (), **values: Any
) -> Features:
    """A session by hand: ``key="k"``, ``host=["h", "i"]`` and so on."""
    found = [
        (family, text)
        for family, given in values.items()
        for text in ([given] if isinstance(given, str) else given)
    ]
    return Features(
        address, attacker_id(address), at, tuple(sorted(found)), tuple(steps), tuple(sorted(logins))
    )


def linked(sessions: Iterable[Features], **more: Any) -> Linker:
    """A linker that took all sessions in and is settled."""
    linker = Linker(**more)
    for one in sessions:
        linker.add(one)
    linker.settle()
    return linker


def partition(linker: Linker) -> Partition:
    """Who belongs together, without the ids."""
    return frozenset(map(frozenset, linker.identities()))


def campaigns(linker: Linker) -> Partition:
    """The addresses of each campaign, without the ids."""
    return frozenset(map(frozenset, linker.campaigns().values()))
