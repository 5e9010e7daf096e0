"""Planted logs read by running engines: joined while they run, after a kill, by several at once; words taken over live."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from decnet.keyed import load_key
from tests.dbkit import database_url
from tests.natskit import PASSWORD, USER, nats_server
from tests.programkit import cli, daemon, listed, run_until_idle, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
CASES = json.loads((Path(__file__).parents[1] / "fixtures" / "cases" / "identities.json").read_text("utf-8"))
BY_NAME = {case["name"]: case for case in CASES}
SOON = 60.0


def wanted(*names: str) -> set[frozenset[str]]:
    return {frozenset(group) for name in names for group in BY_NAME[name]["expect"]["identities"]}


def lines_of(*names: str) -> list[str]:
    return [json.dumps(line) + "\n" for name in names for line in BY_NAME[name]["lines"]]


def joined(*where: str | Path) -> set[frozenset[str]]:
    done = cli("identities", "--joined", "--json", "--limit", "0", *where)
    assert done.returncode == 0, done.stderr.decode()
    return {frozenset(row["addresses"]) for row in json.loads(done.stdout)}


def linking(data: Path) -> bool:
    """Whether the engine's own worker links, by the last heartbeat that is stored."""
    (beat,) = [row for row in listed("workers", data) if row["worker"] == "attribution"]
    return beat["linking"] is True


@pytest.mark.parametrize("name", ["twins_one_kit", "key_hub", "tunnels"])
def test_a_planted_log_by_the_command_line(name: str, tmp_path: Path) -> None:
    """The others are linked from rows, which is faster (``integration/test_linking_job.py``)."""
    case: dict[str, Any] = BY_NAME[name]
    log, data = tmp_path / "cowrie.json", tmp_path / "data"
    log.write_text("".join(json.dumps(line) + "\n" for line in case["lines"]), "utf-8")
    done = run_until_idle(log, data, timeout=120)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    identities, expect = joined("--data-dir", data), case["expect"]
    if expect["no_identity_else"]:
        assert identities == {frozenset(group) for group in expect["identities"]}
    assert {frozenset(group) for group in expect["identities"]} <= identities
    assert all(not {one, other} <= group for group in identities for one, other in expect["apart"])
    campaigns = [set(row["addresses"]) for row in listed("campaigns", data)]
    assert all(any(set(group) <= whole for whole in campaigns) for group in expect["campaigns"])


def test_identities_grow_while_the_log_does_and_a_kill_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    log, data = tmp_path / "cowrie.json", tmp_path / "data"
    lines = lines_of("key_trio", "bridge")
    half = len(lines) // 2
    log.write_text("".join(lines[:half]), "utf-8")
    names = ("key_trio", "bridge")
    with daemon(data, tmp_path / "first.log", "--sensor", f"cowrie={log}") as first:
        until(lambda: joined("--data-dir", data), SOON, "the first identity")
        first.kill()
    with log.open("a", encoding="utf-8") as more:
        more.writelines(lines[half:])
    done = run_until_idle(log, data, timeout=120)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert joined("--data-dir", data) == wanted(*names)


def test_a_running_engine_takes_the_word_of_an_operator_over(tmp_path: Path) -> None:
    log, data = tmp_path / "cowrie.json", tmp_path / "data"
    log.write_text("".join(lines_of("key_trio")), "utf-8")
    (trio,) = wanted("key_trio")
    one, other, _ = sorted(trio)
    with daemon(data, tmp_path / "engine.log", "--sensor", f"cowrie={log}") as engine:
        until(lambda: joined("--data-dir", data) == {trio}, SOON, "the trio")
        done = cli("identities", "unlink", one, other, "--reason", "two", "--json", "--data-dir", data)
        assert done.returncode == 0, done.stderr.decode()
        told = json.loads(done.stdout)
        assert told["taken_over"] is True
        assert len(set(told["identities"])) == 2
        until(lambda: linking(data), SOON, "a heartbeat that says that the engine did it, not the command")
        done = cli("identities", "relink", "--json", "--data-dir", data)
        assert done.returncode == 0, done.stderr.decode()
        (pair,) = joined("--data-dir", data)
        assert not {one, other} <= pair
        assert engine.stop() == 0


async def test_two_engines_on_one_database_link_as_one(tmp_path: Path) -> None:
    names = ("key_trio", "bridge", "tunnels")
    lines = lines_of(*names)
    whole = tmp_path / "whole.json"
    whole.write_text("".join(lines), "utf-8")
    own = tmp_path / "own"
    load_key(own)
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        shutil.copytree(own, folder)
    alone = await asyncio.to_thread(run_until_idle, whole, own, timeout=120)
    assert alone.returncode == 0, alone.stderr.decode()[-2000:]
    expected = await asyncio.to_thread(joined, "--data-dir", own)
    assert wanted(*names) <= expected
    config = tmp_path / "settings.yaml"
    config.write_text(f"bus: {{user: {USER}, password: {PASSWORD}}}\n", "utf-8")
    with nats_server(tmp_path / "nats") as bus_url:
        async with database_url("postgresql", tmp_path) as db_url:
            given = ("--config", config, "--bus", bus_url, "--db", db_url)
            with ExitStack() as running:
                sensor = ("--sensor", f"cowrie={whole}")
                first = running.enter_context(daemon(folders[0], tmp_path / "first.log", *given, *sensor))
                running.enter_context(daemon(folders[1], tmp_path / "second.log", *given))
                await asyncio.to_thread(
                    until,
                    lambda: joined("--db", db_url) == expected,
                    SOON,
                    "all identities of one engine alone",
                )
                first.kill()  # whoever linked is gone: the other one goes on
                one, other = sorted(next(iter(wanted("key_trio"))))[:2]
                done = await asyncio.to_thread(
                    cli, "identities", "unlink", one, other, "--json", "--db", db_url
                )
                assert done.returncode == 0, done.stderr.decode()
                assert json.loads(done.stdout)["taken_over"] is True
