"""``bus config``: the real server takes it, each secret stands in it once, and nothing that is in use is replaced."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import nkeys
import pytest
from typer.testing import CliRunner

from decnet_tui.cli.main import app
from tests.natskit import SERVER
from tests.remotekit import config_text


def run(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["bus", "config", *map(str, arguments)])
    return done.exit_code, done.output


def accepted(path: Path) -> None:
    done = subprocess.run([SERVER, "-t", "-c", str(path)], capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_the_server_takes_it_and_it_is_its_owners_alone(tmp_path: Path) -> None:
    out = tmp_path / "nats.conf"
    code, said = run("--sensor", "east", "--sensor", "w-1_x", "--out", out, "--data-dir", tmp_path)
    assert code == 0, said
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    accepted(out)
    text = out.read_text("utf-8")
    passwords = re.findall(r'password: "([^"]+)"', text)
    assert len(set(passwords)) == 4, "engine, console and two sensors"
    assert all(len(one) >= 40 and text.count(one) == 1 and one not in said for one in passwords)


def test_each_sensor_has_its_own_prefix_inbox_and_control(tmp_path: Path) -> None:
    line = next(line for line in config_text(tmp_path).splitlines() if 'user: "sensor-east"' in line)
    assert 'publish: { allow: ["sensor.east.>"] }' in line
    assert 'subscribe: { allow: ["_INBOX_east.>", "system.sensor-east.control"] }' in line


def test_a_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "nats.conf"
    out.write_text("in use", "utf-8")
    code, said = run("--sensor", "east", "--out", out, "--data-dir", tmp_path)
    assert (code, out.read_text("utf-8")) == (1, "in use")
    assert "its secrets are in use" in said


def test_seeds_are_made_once_and_only_their_public_half_is_printed(tmp_path: Path) -> None:
    folder = tmp_path / "seeds"
    first = config_text(tmp_path, "--nkeys", str(folder))
    seeds = {path.stem: path.read_bytes().strip() for path in folder.iterdir()}
    assert set(seeds) == {"engine", "console", "sensor-east", "sensor-west"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for seed in seeds.values():
        assert first.count(nkeys.from_seed(bytearray(seed)).public_key.decode()) == 1
        assert seed.decode() not in first
    assert "password" not in first
    again = config_text(tmp_path, "--nkeys", str(folder), "--sensor", "north")
    assert set(re.findall("nkey: (U[A-Z0-9]+)", first)) < set(re.findall("nkey: (U[A-Z0-9]+)", again))
    out = tmp_path / "n.conf"
    out.write_text(again, "utf-8")
    accepted(out)


def test_a_file_that_is_no_seed_is_named(tmp_path: Path) -> None:
    (tmp_path / "engine.nk").write_text("nonsense", "utf-8")
    code, said = run("--sensor", "east", "--nkeys", tmp_path, "--data-dir", tmp_path)
    assert code == 1
    assert "engine.nk: not a seed of an nkey" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("name", ["a" * 41, "", "a b", "a.b", ">", "*", "-a", "a\n", "é"])
def test_what_is_no_token_is_no_name(tmp_path: Path, name: str) -> None:
    code, said = run(f"--sensor={name}", "--data-dir", tmp_path)
    assert code == 2
    assert "a sensor's name is up to 40 letters" in said


def test_the_longest_name_is_one(tmp_path: Path) -> None:
    assert run("--sensor", "a" * 40, "--data-dir", tmp_path)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--sensor", "a", "--sensor", "a"), "named twice"),
        (("--sensor", "a", "--tls-cert", __file__), "go together"),
        (("--sensor", "a", "--tls-cert", "/none/c", "--tls-key", __file__), "/none/c: no such file"),
        ((), "--sensor"),
    ],
)
def test_wrong_usage_is_said(tmp_path: Path, arguments: tuple[str, ...], why: str) -> None:
    code, said = run(*arguments, "--data-dir", tmp_path)
    assert code == 2
    assert why in said


def test_a_server_for_others_without_tls_is_warned_about(tmp_path: Path) -> None:
    shown = ("--sensor", "a", "--data-dir", tmp_path, "--out", tmp_path / "a.conf")
    assert "can be read on its way" in run(*shown, "--listen", "0.0.0.0:4222")[1]
    assert "can be read on its way" not in run(*shown[:-1], tmp_path / "b.conf")[1]
