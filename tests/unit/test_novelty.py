"""What a session had that can be new: named once, bounded, keys as ssh-keygen names them."""

from __future__ import annotations

from typing import Any

from decnet.bounds import BITES
from decnet.events.session import SessionEnded
from decnet.ttp.moves import STORY_CAPPED, Moves
from decnet.ttp.novelty import MAX_THINGS, Thing, things_of

SHA = "AB" * 32
KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
"""Thirty-two bytes that count up, as an ed25519 key."""


def things(lines: tuple[str, ...] = (), moves: Moves | None = None, **more: Any) -> list[Thing]:
    commands = [{"command_text": line} for line in lines]
    payload = {"session_id": "s", "attacker_ip": "192.0.2.7", "ended_at": 9.0, "commands": commands, **more}
    return things_of(SessionEnded.parse(payload, []), moves or Moves(), None)


def test_hashes_and_hosts_are_named_once_however_they_are_written() -> None:
    found = things(
        uploads=[{"filename": "a", "sha256": SHA}],
        downloads=[{"url": "http://Evil.Example/a", "sha256": SHA.lower()}, {"url": "", "sha256": None}],
        moves=Moves(asked={"evil.example": 3, "": 1}),
    )
    assert found == [Thing("hash", SHA.lower()), Thing("host", "evil.example")]


def test_a_key_is_named_as_ssh_keygen_does_whatever_is_around_it() -> None:
    line = f"mkdir -p ~/.ssh; echo 'ssh-ed25519 {KEY} x@y' >> ~/.ssh/authorized_keys"
    (first,) = things((line,))
    assert first == Thing("key", "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA")
    assert things((f"echo ssh-ed25519   {KEY}", line)) == [first]
    assert things((f"echo {KEY}", "ssh-rsa AAAA", "echo ssh-rsa AAAA$(id)")) == []


def test_things_beyond_the_bound_are_counted() -> None:
    before = BITES[STORY_CAPPED]
    urls = [{"url": f"http://h{n}.example/", "sha256": None} for n in range(MAX_THINGS)]
    assert len(things(downloads=urls)) == MAX_THINGS
    assert BITES[STORY_CAPPED] == before
    assert len(things(downloads=[*urls, {"url": "http://more.example/", "sha256": None}])) == MAX_THINGS
    assert BITES[STORY_CAPPED] == before + 1


def test_hostile_hosts_and_hashes_are_printable() -> None:
    found = things(uploads=[{"filename": "a", "sha256": "\x1b[2J" + "x" * 100_000}])
    assert "\x1b" not in found[0].value
    assert len(found[0].value) == 200
