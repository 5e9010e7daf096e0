"""``attackers --country`` and ``--asn``: as typed, from files in the data directory."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from typer.testing import CliRunner

from decnet.db.repository import BaseRepository
from decnet_tui.cli.main import app
from tests.integration.test_attackers_told import FILES, IPS, filled


def test_the_command_takes_places(tmp_path: Path) -> None:
    async def fill() -> None:
        opened = await BaseRepository.open(f"sqlite:///{tmp_path / 'decnet.sqlite'}")
        await filled(opened)
        await opened.close()

    asyncio.run(fill())
    (tmp_path / "intel").mkdir()
    for name, data in FILES.items():
        (tmp_path / "intel" / name).write_bytes(data)
    told = lambda *words: CliRunner().invoke(app, ["attackers", "--data-dir", str(tmp_path), *words])  # noqa: E731
    listed = json.loads(told("--country", "nl", "--json").stdout)
    assert [(row["attacker_ip"], row["country"], row["severity"]) for row in listed] == [
        (IPS[0], "NL", "high")
    ]
    assert [row["attacker_ip"] for row in json.loads(told("--asn", "AS49981", "--json").stdout)] == [
        IPS[2],
        IPS[1],
    ]
    assert "AS60729 TORSERVERS" in told().stdout
    assert "nothing matches: ask without --country" in told("--country", "xx").stdout
    wrong = told("--asn", "five")
    assert (wrong.exit_code, "a network is a number" in wrong.stderr) == (2, True)
