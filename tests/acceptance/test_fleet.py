"""The fleet as an operator has it: real decoys, the real program, a client at the ports, tags at the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.factory import get_bus
from decnet.config import Settings
from decnet.mutator.substrate import process
from tests.canarykit import answers, attempts, decoys_end, ensure_opencanary, free_ports
from tests.programkit import cli, daemon, listed, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
LIMIT_S = 120.0
SERVICES = ("telnet", "ftp", "redis", "mysql", "ssh", "vnc")


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "data"
    with decoys_end(place):
        yield place


def written(tmp_path: Path) -> tuple[Path, Path, dict[str, int]]:
    """Config file, fleet file, and the ports by decky and service."""
    ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
    config, fleet = tmp_path / "config.yaml", tmp_path / "fleet.yaml"
    config.write_text(
        f"mutator: {{opencanary_env: {ensure_opencanary()}, observe_s: 1.0}}\nsensor: {{probe_idle_s: 2.0}}\n"
    )
    shown = ", ".join(f"{name}: {port}" for name, port in ports.items())
    rows = [
        ("web-01", "[telnet, ftp]", "[telnet]"),
        ("db-01", "[redis, mysql]", "[redis]"),
        ("host-01", "[ssh, vnc]", "[ssh]"),
    ]
    deckies = "".join(
        f"  - {{name: {n}, pool: {p}, services: {s}, ports: {{{shown}}}}}\n" for n, p, s in rows
    )
    fleet.write_text(f"fleet: lab\nsubstrate: opencanary\ndeckies:\n{deckies}")
    return config, fleet, ports


def fleet_rows(data: Path) -> dict[str, dict[str, Any]]:
    done = cli("fleet", "list", "--json", "--data-dir", data)
    assert done.returncode == 0, done.stderr.decode()
    return {row["name"]: row for row in json.loads(done.stdout)}


def running(data: Path, **wanted: list[str]) -> bool:
    rows = fleet_rows(data)
    return all(rows[name.replace("_", "-")]["observed"] == services for name, services in wanted.items())


async def told(data: Path, pattern: str, last: int = 200) -> list[dict[str, Any]]:
    """Payloads of the newest stored events."""
    bus = get_bus("test", Settings(data_dir=data))
    await bus.connect()
    try:
        return [event.payload for event in await bus.read_back(pattern, last)]
    finally:
        await bus.close()


async def test_a_rotation_opens_and_closes_ports_and_what_the_new_one_sees_is_tagged(
    tmp_path: Path, data: Path
) -> None:
    config, fleet, ports = written(tmp_path)
    assert cli("fleet", "apply", fleet, "--config", config, "--data-dir", data).returncode == 0
    with daemon(data, tmp_path / "engine.log", "--config", config) as engine:
        ready = {"web_01": ["telnet"], "db_01": ["redis"], "host_01": ["ssh"]}
        await asyncio.to_thread(until, lambda: running(data, **ready), LIMIT_S, "three decoys")
        assert answers(ports["telnet"])
        assert not answers(ports["ftp"])

        done = await asyncio.to_thread(
            cli, "fleet", "mutate", "web-01", "--wait", "--config", config, "--data-dir", data
        )
        assert (done.returncode, done.stdout.decode()) == (0, "web-01: telnet → ftp\n"), done.stderr.decode()
        assert answers(ports["ftp"])
        assert not answers(ports["telnet"])

        await asyncio.to_thread(attempts, ports["ftp"], "root", "hunter2", 8)
        await asyncio.to_thread(until, lambda: tagged(data), LIMIT_S, "a tag")
        captured = await told(data, "credential.captured")
        assert {(p["decky_id"], p["service"], p["username"]) for p in captured} == {("web-01", "ftp", "root")}
        assert not any("hunter2" in json.dumps(payload) for payload in captured)
        (session,) = listed("sessions", data)
        assert (session["decky_id"], session["service"], session["end_reason"]) == ("web-01", "ftp", "idle")

        await by_request(data, ports)
        unknown = cli("fleet", "mutate", "nobody", "--wait", "--data-dir", data)
        assert unknown.returncode == 1
        assert b"no decoy nobody" in unknown.stderr

        assert engine.stop() == 0, engine.said()
    assert answers(ports["ftp"]), "decoys outlive the engine"
    (tmp_path / "none.yaml").write_text("fleet: lab\ndeckies: []\n")
    assert cli("fleet", "apply", tmp_path / "none.yaml", "--data-dir", data).returncode == 0
    with daemon(data, tmp_path / "engine.log", "--config", config):
        await asyncio.to_thread(until, lambda: not fleet_rows(data), LIMIT_S, "an empty fleet")
    assert not any(answers(port) for port in ports.values())
    assert not any(process.find(str(home / "decoy.tac")) for home in (data / "fleet/decoys").glob("*"))


def tagged(data: Path) -> bool:
    return any(row["decky_id"] == "web-01" and row["technique_id"] == "T1110" for row in listed("tags", data))


async def by_request(data: Path, ports: dict[str, int]) -> None:
    """What any other process may do: ask on the bus."""
    bus = get_bus("elsewhere", Settings(data_dir=data))
    await bus.connect()
    try:
        async with bus.subscribe("decky.*.*") as news, asyncio.timeout(LIMIT_S):
            for name in ("db-01", "nobody"):
                await bus.publish(
                    f"decky.{name}.mutate_request", {"request_id": f"req-{name}", "requested_by": "ann"}
                )
            found: dict[str, dict[str, Any]] = {}
            async for event in news:
                found[event.topic] = event.payload
                if {"decky.db-01.mutation", "decky.db-01.state", "decky.nobody.mutation"} <= found.keys():
                    break
    finally:
        await bus.close()
    change = found["decky.db-01.mutation"]
    assert (change["old_services"], change["new_services"]) == (["redis"], ["mysql"])
    assert (change["request_id"], change["actor"], change["outcome"], change["trigger"]) == ("req-db-01", "ann", "applied", "operator")  # fmt: skip
    assert found["decky.db-01.state"]["services"] == ["mysql"]
    assert found["decky.nobody.mutation"]["outcome"] == "failed"
    assert answers(ports["mysql"])
    assert not answers(ports["redis"])


async def test_setup_makes_an_environment_that_decoys_start_from(tmp_path: Path, data: Path) -> None:
    (port,) = free_ports(1)
    made = await asyncio.to_thread(cli, "fleet", "setup", "--data-dir", data, timeout=250)
    assert made.returncode == 0, made.stderr.decode()
    assert b"OpenCanary 0.9.10 installed" in made.stdout
    again = cli("fleet", "setup", "--data-dir", data)
    assert b"is ready" in again.stdout
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(
        f"fleet: lab\ndeckies:\n  - {{name: web-01, pool: [ftp, ssh], services: [ftp], ports: {{ftp: {port}}}}}\n"
    )
    assert cli("fleet", "apply", fleet, "--data-dir", data).returncode == 0
    with daemon(data, tmp_path / "engine.log"):
        await asyncio.to_thread(until, lambda: answers(port), LIMIT_S, "the decoy")


def test_faults_of_a_fleet_file_are_told_at_once(tmp_path: Path, data: Path) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text("fleet: Lab\ndeckies:\n  - {name: a, pool: [httpp]}\n")
    done = cli("fleet", "apply", fleet, "--data-dir", data)
    said = done.stderr.decode()
    assert done.returncode == 1
    assert f"{fleet}:1:1: a fleet needs a name" in said
    assert f"{fleet}:3:22: unknown service 'httpp'" in said
    assert not (data / "decnet.sqlite").exists()


def test_without_an_engine_a_request_waits(tmp_path: Path, data: Path) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text("fleet: lab\nsubstrate: dry_run\ndeckies:\n  - {name: a-01, archetype: printer}\n")
    done = cli("fleet", "apply", fleet, "--data-dir", data)
    assert b"no engine runs here" in done.stdout
    done = cli("fleet", "mutate", "a-01", "--data-dir", data)
    assert (done.returncode, b"no engine runs here" in done.stdout) == (0, True)
    done = cli("fleet", "mutate", "a-01", "--wait", "--data-dir", data)
    assert (done.returncode, b"no engine runs here" in done.stderr) == (1, True)
    assert cli("fleet", "interval", "a-01", "12h", "--data-dir", data).returncode == 0
    assert cli("fleet", "interval", "a-01", "soon", "--data-dir", data).returncode == 1
    row = fleet_rows(data)["a-01"]
    assert list(row) == ["name", "archetype", "substrate", "desired", "observed", "state", "mutate_interval", "last_mutated", "next_due"]  # fmt: skip
    assert (row["state"], row["mutate_interval"], row["observed"]) == ("pending", "12h", [])
