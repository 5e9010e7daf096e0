"""Hand-made terminal recordings and sessions for the tests of ``decnet.behave``."""

from __future__ import annotations

import random
from typing import Any

from decnet.behave import evidence
from decnet.behave import extract as extraction
from decnet.behave.ttylog import HEADER, INPUT, OP_CLOSE, OP_OPEN, OP_WRITE, OUTPUT
from decnet.events.session import SessionEnded
from decnet.ids import attacker_id

START = 1_700_000_000.0
PROMPT = b"root@web-01:~# "


class Tape:
    """A recording under construction; ``now`` is epoch seconds and moves with every key."""

    def __init__(self, start: float = START, seed: int = 7) -> None:
        self.now = start
        self.rng = random.Random(seed)
        self.parts: list[bytes] = []
        self.record(OP_OPEN, 0, b"")
        self.out(PROMPT)

    def record(self, operation: int, direction: int, data: bytes, length: int | None = None) -> None:
        """One record; ``length`` may lie."""
        whole = int(self.now)
        micros = round((self.now - whole) * 1_000_000) % 1_000_000
        size = len(data) if length is None else length
        self.parts.append(HEADER.pack(operation, 0, size, direction, whole, micros) + data)

    def out(self, data: bytes, after: float = 0.004) -> Tape:
        """The decoy writes."""
        self.now += after
        self.record(OP_WRITE, OUTPUT, data)
        return self

    def raw(self, data: bytes, after: float = 0.15) -> Tape:
        """One input chunk as it is."""
        self.now += after
        self.record(OP_WRITE, INPUT, data)
        return self

    def keys(self, text: str, gap: float = 0.15, jitter: float = 0.0, first: float | None = None) -> Tape:
        """Keys struck one by one, echoed; ``jitter`` is the sigma of the logarithm, ``first`` the first gap."""
        for place, char in enumerate(text):
            wait = gap * self.rng.lognormvariate(0.0, jitter) if jitter else gap
            self.raw(char.encode("latin-1"), first if place == 0 and first is not None else wait)
            if char >= " " and char != "\x7f":
                self.out(char.encode("latin-1"), 0.0002)
        return self

    def answer(self, text: str = "", prompt: bytes = PROMPT) -> Tape:
        """What comes after Enter: the command's output and the next prompt."""
        self.out(b"\r\n" + text.encode() + (b"\r\n" if text else b""))
        return self.out(prompt)

    def line(
        self, text: str, gap: float = 0.15, jitter: float = 0.2, pause: float = 1.5, said: str = ""
    ) -> Tape:
        """A whole line struck by hand after a pause to think, and its answer."""
        return self.keys(text + "\r", gap, jitter, first=pause).answer(said)

    def paste(self, text: str, pause: float = 1.0, said: str = "ok") -> Tape:
        """A line that arrives in one piece, with its end."""
        return self.raw(text.encode() + b"\r", pause).answer(said)

    def done(self) -> bytes:
        """The bytes of the recording."""
        self.record(OP_CLOSE, 0, b"")
        return b"".join(self.parts)


def session(
    commands: list[Any] | None = None, gap: float = 3.0, started: float = START, n: int = 1, **more: Any
) -> dict[str, Any]:
    """An ``attacker.session.ended`` payload; a command is a text, or (text, success)."""
    rows = []
    for place, item in enumerate(commands or []):
        text, success = item if isinstance(item, tuple) else (item, None)
        row = {"id": f"s{n}#cmd{place}", "command_text": text, "ts": started + 1.0 + gap * place}
        rows.append(row if success is None else row | {"success": success})
    length = 2.0 + gap * len(rows)
    ip = more.pop("attacker_ip", "192.0.2.1")
    base: dict[str, Any] = {
        "session_id": f"s{n}",
        "attacker_uuid": attacker_id(ip),
        "attacker_ip": ip,
        "decky_id": "web-01",
        "service": "ssh",
        "protocol": "ssh",
        "started_at": started,
        "ended_at": started + length,
        "end_reason": "closed",
        "duration_s": length,
        "part": 1,
        "parts": 1,
        "command_count": len(rows),
        "commands": rows,
        "client": {"version": "SSH-2.0-x", "hassh": "a" * 32, "kex": ["curve25519-sha256"], "size": None},
        "auth": {"fail_count": 0, "success": True, "usernames": ["root"]},
        "downloads": [],
        "forwards": [],
    }
    return base | more


def extract(payload: dict[str, Any], recording: bytes | None = None, **more: Any) -> extraction.Extraction:
    """What a payload and its recording give."""
    return extraction.extract(SessionEnded.parse(payload), recording, **more)


def evidence_of(payload: dict[str, Any], recording: bytes | None = None) -> evidence.Evidence:
    """What is known of a session by its payload and its recording."""
    return evidence.evidence_of(SessionEnded.parse(payload), recording)
