"""The daemon and what starts it: systemd's notification socket, SIGHUP, SIGTERM."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from pathlib import Path
from threading import Thread

import pytest

from decnet_tui.launch.headless import sd_notify
from tests.programkit import Daemon, cli, daemon, until

pytestmark = pytest.mark.timeout(120)
RULE = """\
rule_id: A1
rule_version: 1
name: test_a1
description: 'A rule of this test.'
applies_to: [command]
match: {pattern: 'alpha'}
emits:
  - {tactic: TA0007, technique_id: T1082, confidence: 0.8}
"""


def test_systemd_hears_of_start_life_and_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(30)
        given = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        with daemon(tmp_path / "data", tmp_path / "log", surrounding=given) as engine:
            heard = [ear.recv(1000).decode() for _ in range(3)]
            assert any(text.startswith("READY=1") for text in heard)
            assert "WATCHDOG=1" in heard
            assert engine.stop() == 0, engine.said()
            until(lambda: ear.recv(1000) == b"STOPPING=1", 30, "STOPPING=1", pause=0)


@pytest.mark.fault(
    fault="a service manager that does not read what it is told",
    guard="telling it never waits",
    control="mutant console-notify-waits",
    figure="50 messages in no time, 10 of them taken",
)
def test_a_service_manager_that_does_not_read_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        told = Thread(target=lambda: [sd_notify("WATCHDOG=1") for _ in range(50)], daemon=True)
        told.start()
        told.join(5)
        hung = told.is_alive()
    assert not hung


def _rules(engine: Daemon) -> int:
    """How many the running engine lists; a line about a file is none."""
    listed = json.loads(cli("rules", "list", "--json", "--limit", "0", "--data-dir", engine.data_dir).stdout)
    return sum(1 for row in listed if row["state"] != "failed")


def test_a_halved_set_is_taken_when_sighup_asks_for_it(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    for name in "ABCDE":
        text = RULE.replace("A1", f"{name}1").replace("a1", f"{name.lower()}1")
        (rules / f"{name.lower()}.yaml").write_text(text, "utf-8")
    with daemon(tmp_path / "data", tmp_path / "log", "--rules", rules) as engine:
        until(lambda: _rules(engine) == 5, 60, "five rules")
        for name in "abc":
            (rules / f"{name}.yaml").unlink()
        until(lambda: "2 of 5 rules left: refused" in engine.said(), 60, "the refusal in the log")
        assert _rules(engine) == 5
        os.kill(engine.process.pid, signal.SIGHUP)
        until(lambda: _rules(engine) == 2, 30, "two rules")


def test_sighup_reads_the_rules_again_and_refuses_to_lose_them_all(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "a.yaml").write_text(RULE, "utf-8")
    config = tmp_path / "settings.yaml"
    config.write_text("ttp: {rescan_s: 3600}\n", "utf-8")
    with daemon(tmp_path / "data", tmp_path / "log", "--rules", rules, "--config", config) as engine:
        until(lambda: "ttp worker started" in engine.said(), 60, "the first load")
        (rules / "b.yaml").write_text(RULE.replace("A1", "B1").replace("a1", "b1"), "utf-8")
        os.kill(engine.process.pid, signal.SIGHUP)
        until(lambda: "rules=2" in engine.said(), 30, "two rules in the log")
        shutil.rmtree(rules)
        rules.mkdir()
        os.kill(engine.process.pid, signal.SIGHUP)
        until(lambda: "refused" in engine.said(), 30, "the refusal in the log")
        assert engine.process.poll() is None


def test_a_bus_that_refuses_the_credentials_ends_the_daemon_with_one_line(tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    with daemon(tmp_path / "other", tmp_path / "log"):
        url = json.loads((tmp_path / "other" / "connection.json").read_text())["bus_url"]
        config.write_text("bus: {token: wrong}\n", "utf-8")
        done = cli("--headless", "--bus", url, "--config", config, "--data-dir", tmp_path / "d")
    told = done.stderr.decode()
    assert done.returncode == 1
    assert (
        told.strip().splitlines()[-1]
        == "error: the bus refused the credentials: check bus.token, bus.user and bus.nkeys_seed"
    )
    assert "Traceback" not in told


def test_a_rule_directory_that_is_none_is_one_line_and_no_engine(tmp_path: Path) -> None:
    done = cli(
        "--headless", "--data-dir", tmp_path / "data", "--rules", tmp_path / "rulez", "--until-idle", "1"
    )
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == [
        f"error: rules: {tmp_path / 'rulez'} is no directory; give one with --rules DIR"
    ]
    assert not (tmp_path / "data" / "connection.json").exists()
