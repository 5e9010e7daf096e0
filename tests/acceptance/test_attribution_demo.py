"""The demo recording: one alert for the deliberate pair, stable profiles, and the same whatever the order."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from decnet.home import packaged_demo_dir
from decnet.ids import attacker_id, identity_id, session_id
from tests.programkit import cli, daemon, listed, until

PAIR, SINGLE = "203.0.113.77", "198.51.100.42"
WORKERS = ("--workers", "sensors,recorder,behave,attribution")
"""Those who have a part in it."""
Row = dict[str, Any]


def run(data: Path, *logs: Path) -> None:
    sensors = [word for log in logs for word in ("--sensor", f"cowrie={log}")]
    done = cli("--headless", *sensors, *WORKERS, "--data-dir", data, "--until-idle", "1", timeout=150)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def truth() -> dict[str, str]:
    """Session id → client of every session of the pair: operator A uses PuTTY, B a Go tool."""
    out = {}
    for line in (packaged_demo_dir() / "cowrie.json").read_text("utf-8").splitlines():
        record = json.loads(line)
        if record["src_ip"] == PAIR and record["eventid"] == "cowrie.client.version":
            out[session_id("cowrie", record["sensor"], record["session"])] = record["version"]
    return out


def split(folder: Path) -> list[Path]:
    """The demo's log as one file for each honeypot, with the recordings beside them."""
    (folder / "tty").symlink_to(packaged_demo_dir() / "tty")
    parts: dict[str, list[str]] = {}
    for line in (packaged_demo_dir() / "cowrie.json").read_text("utf-8").splitlines():
        parts.setdefault(json.loads(line)["sensor"], []).append(line)
    for name, lines in parts.items():
        (folder / f"{name}.json").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return [folder / f"{name}.json" for name in sorted(parts)]


def check_demo(data: Path) -> None:
    alerts = listed("alerts", data)
    assert [row["identity_uuid"] for row in alerts] == [identity_id(attacker_id(PAIR))]
    (alert,) = alerts
    assert alert["state"] == "open"
    assert len(alert["primitives"]) >= 2
    clients = truth()
    assert sorted(ident for side in alert["sides"] for ident in side) == sorted(clients)
    assert [{clients[ident] for ident in side} for side in alert["sides"]] in (
        [{"SSH-2.0-PuTTY_Release_0.78"}, {"SSH-2.0-Go"}],
        [{"SSH-2.0-Go"}, {"SSH-2.0-PuTTY_Release_0.78"}],
    )
    states = listed("attribution", data)
    stable = [row for row in states if row["state"] == "stable" and row["observation_count"] >= 5]
    assert len({row["identity_uuid"] for row in stable}) >= 3
    single = [row for row in stable if row["identity_uuid"] == identity_id(attacker_id(SINGLE))]
    assert len(single) >= 5


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_one_alert_the_same_in_any_order_and_after_restarts(tmp_path: Path) -> None:
    files = split(tmp_path)
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    run(whole, packaged_demo_dir() / "cowrie.json")
    check_demo(whole)
    states, alerts = listed("attribution", whole), listed("alerts", whole)

    run(whole, packaged_demo_dir() / "cowrie.json")
    assert listed("attribution", whole) == states
    assert listed("alerts", whole) == alerts

    _with_key_of(whole, pieces)
    run(pieces, files[2])
    run(pieces, files[2], files[0])
    run(pieces, *reversed(files))
    assert _plain(listed("attribution", pieces), pieces) == _plain(states, whole)
    still_open = [row for row in listed("alerts", pieces) if row["state"] == "open"]
    assert _plain(still_open, pieces) == _plain(alerts, whole)


def _with_key_of(other: Path, data: Path) -> None:
    """A data directory whose keyed hashes can be compared with those of another one."""
    data.mkdir(mode=0o700)
    shutil.copy(other / "secret.key", data)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_sigkill_in_the_middle_changes_no_state_and_no_alert(tmp_path: Path) -> None:
    log, calm, killed = packaged_demo_dir() / "cowrie.json", tmp_path / "calm", tmp_path / "killed"
    run(calm, log)
    _with_key_of(calm, killed)
    small = {"DECNET_RUNTIME__BATCH_EVENTS": "50"}
    sensor = ("--sensor", f"cowrie={log}")
    with daemon(killed, tmp_path / "engine.log", *sensor, *WORKERS, surrounding=small) as engine:
        until(lambda: _states(killed), 90, "a first batch in the rows", pause=0.01)
        engine.kill()
    before = len(listed("attribution", killed))
    run(killed, log)
    states = listed("attribution", calm)
    assert before > 0
    assert _plain(listed("attribution", killed), killed) == _plain(states, calm)
    assert _plain(listed("alerts", killed), killed) == _plain(listed("alerts", calm), calm)
    check_demo(killed)


def _states(data: Path) -> int:
    """Rows so far; a list command would take longer than the rest of the work."""
    with closing(sqlite3.connect(f"file:{data / 'decnet.sqlite'}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM attribution_state").fetchone()[0])


def _plain(rows: list[Row], data: Path) -> list[str]:
    """Rows with all addresses of an identity in the place of its id: which of them came first names it."""
    names = {
        row["identity_uuid"]: sorted(row["addresses"]) for row in listed("identities", data, "--ignored")
    }
    return sorted(
        json.dumps(
            {k: v for k, v in row.items() if k != "alert_id"}
            | {"identity_uuid": names[row["identity_uuid"]]},
            sort_keys=True,
        )
        for row in rows
    )
