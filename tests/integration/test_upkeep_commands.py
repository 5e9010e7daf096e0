"""find, ignore, backfill, purge and unit as commands: text, JSON, exit codes."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decnet.bus.base import Event
from decnet.config import load_settings
from decnet.db.repository import BaseRepository
from decnet.recorder.worker import RecorderWorker
from decnet.runtime.worker import Transaction
from decnet_tui.cli.main import app
from tests.wirekit import taken

runner = CliRunner()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory with two sessions in its database."""

    async def fill() -> None:
        repo = await BaseRepository.open(f"sqlite:///{tmp_path / 'decnet.sqlite'}")
        events = [
            ended("s1", "192.0.2.10", "wget http://203.0.113.9/\x1b[2Jx"),
            ended("s2", "203.0.113.5", "uname"),
        ]
        async with repo.transaction() as bound:
            await RecorderWorker(load_settings()).handle(taken(events), Transaction(bound))
        await repo.close()

    asyncio.run(fill())
    return tmp_path


def ended(name: str, ip: str, text: str) -> Event:
    payload = {"session_id": name, "attacker_ip": ip, "decky_id": "d", "started_at": 1e9, "ended_at": 1e9 + 1}
    commands = [{"id": f"{name}#cmd0", "command_text": text, "ts": 1e9}]
    return Event("attacker.session.ended", {**payload, "commands": commands}, "", name, 1e9)


def run(data_dir: Path, *arguments: str, code: int = 0) -> str:
    done = runner.invoke(app, [*arguments, "--data-dir", str(data_dir)])
    assert done.exit_code == code, done.output
    return done.output


def rows(data_dir: Path, *arguments: str) -> Any:
    return json.loads(run(data_dir, *arguments, "--json"))


def test_find(data_dir: Path) -> None:
    (row,) = rows(data_dir, "find", "wget")
    assert (row["kind"], row["attacker_ip"], row["session_id"]) == ("command", "192.0.2.10", "s1")
    assert "\x1b" not in run(data_dir, "find", "wget")
    assert rows(data_dir, "find", "nothing like it") == []
    run(data_dir, "find", "", code=2)


def test_ignore_hides_until_it_is_removed(data_dir: Path) -> None:
    assert "1 session marked" in run(data_dir, "ignore", "192.0.2.0/24", "--for", "1h", "--reason", "ours")
    (entry,) = rows(data_dir, "ignore", "list")
    assert (entry["value"], entry["state"], entry["reason"]) == ("192.0.2.0/24", "active", "ours")
    assert [row["session_id"] for row in rows(data_dir, "sessions")] == ["s2"]
    assert len(rows(data_dir, "sessions", "--ignored")) == 2
    assert rows(data_dir, "find", "wget") == []
    assert len(rows(data_dir, "attackers")) == len(rows(data_dir, "identities")) == 1
    run(data_dir, "ignore", "remove", entry["ignore_id"])
    assert len(rows(data_dir, "sessions")) == 2
    run(data_dir, "ignore", "remove", entry["ignore_id"], code=1)


@pytest.mark.parametrize("bad", [("remove",), ("list", "x"), ("192.0.2.1", "x"), ("x", "--for", "soon")])
def test_ignore_used_wrongly(data_dir: Path, bad: tuple[str, ...]) -> None:
    run(data_dir, "ignore", *bad, code=2)


def test_backfill(data_dir: Path) -> None:
    report = rows(data_dir, "backfill", "--since", "2001-01-01")
    assert report["tags"] > 0
    assert {row["session_id"] for row in rows(data_dir, "tags")} >= {"s1"}
    assert rows(data_dir, "backfill", "--since", "2001-01-01")["tags"] == 0
    assert "0 new tags" in run(data_dir, "backfill", "--since", "2001-01-01", "--rule", "R0001")
    assert "R7777" in run(data_dir, "backfill", "--since", "1d", "--rule", "R7777", code=1)
    run(data_dir, "backfill", "--since", "whenever", code=2)


def test_purge(data_dir: Path) -> None:
    done = rows(data_dir, "purge", "--older-than", "90d")
    assert done["deleted"]["session"] == 2
    assert rows(data_dir, "sessions") == []
    assert "nothing" in run(data_dir, "purge", "--older-than", "90d")
    run(data_dir, "purge", code=2)


def test_units_of_parts_run_that_part_and_refuse_what_would_not_do(tmp_path: Path) -> None:
    def text(*args: str) -> str:
        done = runner.invoke(app, ["unit", *args])
        assert done.exit_code == 0, done.output
        return done.output

    config = str(tmp_path / "sensor.yaml")
    sensors = text("--role", "sensors", "--config", config, "--allow", "192.0.2.0/24")
    assert f"--data-dir %S/decnet-tui-sensors --config {config} --workers sensors" in sensors
    assert "StateDirectory=decnet-tui-sensors\n" in sensors
    assert "IPAddressAllow=localhost 192.0.2.0/24" in sensors
    engine = text("--role", "engine", "--bus", "nats://192.0.2.1:4222")
    assert "--data-dir %S/decnet-tui-engine --bus nats://192.0.2.1:4222\n" in engine
    assert "--workers" not in engine, "its worker sensors takes in what sensors elsewhere send"
    for name, made in (("sensors", sensors), ("engine", engine)):
        tool = shutil.which("systemd-analyze")
        if tool is not None:
            path = tmp_path / f"decnet-{name}.service"
            path.write_text(made)
            judged = subprocess.run([tool, "security", "--offline=true", "--threshold=20", "--no-pager", str(path)], capture_output=True, check=False)  # fmt: skip
            assert judged.returncode == 0, judged.stdout.decode()
    for wrong, said in (
        (["--role", "sensors", "--config", config, "--bus", "nats://u:p@h"], "a log-in in --bus"),
        (["--role", "sensors", "--sensor", "cowrie=/a"], "works on a bus elsewhere"),
        (["--role", "sensors", "--bus", "nats://h:1"], "reads logs"),
        (["--role", "engine", "--bus", "nats://h:1", "--sensor", "cowrie=/a"], "reads no logs"),
        (["--role", "half"], "half"),
    ):
        done = runner.invoke(app, ["unit", *wrong])
        assert (done.exit_code, said in done.output) == (2, True), done.output
        assert len(done.stderr.strip().splitlines()) == 1


def test_unit_is_hardened(tmp_path: Path) -> None:
    text = runner.invoke(
        app, ["unit", "--sensor", "cowrie=/var/log/cow rie/100%.json", "--group", "cowrie"]
    ).output
    assert "Type=notify" in text
    assert '"cowrie=/var/log/cow rie/100%%.json"' in text
    assert "SupplementaryGroups=cowrie" in text
    assert "--data-dir %S/decnet-tui" in text
    tool = shutil.which("systemd-analyze")
    if tool is not None:
        path = tmp_path / "decnet-check.service"
        path.write_text(text)
        judged = subprocess.run(
            [tool, "security", "--offline=true", "--threshold=20", "--no-pager", str(path)], capture_output=True, check=False
        )  # fmt: skip
        assert judged.returncode == 0, judged.stdout.decode()
    elsewhere = runner.invoke(app, ["unit", "--data-dir", "/srv/decoys"]).output
    assert "EnvironmentFile" not in elsewhere
    assert "ReadWritePaths=/srv/decoys" in elsewhere
    assert "StateDirectory" not in elsewhere
    assert runner.invoke(app, ["unit", "--sensor", "nonsense"]).exit_code == 2


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:s3cret@db/decnet", "postgresql://u:s3c/ret@db/decnet", "postgresql://u:@db/x", "postgresql://db/x?password=s3cret", "s3cret"],
)  # fmt: skip
def test_no_password_stands_in_a_unit(url: str) -> None:
    """What a unit starts can be read by everybody: `systemctl cat`, `ps`."""
    done = runner.invoke(app, ["unit", "--db", url])
    assert done.exit_code == 2
    assert "ExecStart" not in done.output
    assert "s3c" not in done.output
    assert "--environment-file" in done.output


@pytest.mark.parametrize(
    "url", ["postgresql://u@db/decnet?sslmode=require", "sqlite:////srv/decoys/x.sqlite"]
)
def test_a_database_without_a_password_stands_in_a_unit(url: str) -> None:
    done = runner.invoke(app, ["unit", "--db", url, "--environment-file", "/etc/decnet tui.env"])
    assert done.exit_code == 0, done.output
    assert f"--db {url}" in done.output.replace('"', "")
    assert 'EnvironmentFile="/etc/decnet tui.env"\nExecStart=' in done.output
