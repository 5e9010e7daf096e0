"""Names that others call: each is importable, has the signature that the design gives it, and works without a bus."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from decnet.attribution.worker import run_attribution_loop
from decnet.bus.factory import bus_of_lone_worker, get_bus
from decnet.bus.null import AbsentBus, NullBus
from decnet.bus.publish import (
    publish_safely,
    run_control_listener,
    run_control_listener_signal,
    run_health_heartbeat,
)
from decnet.config import BusSettings, Settings, load_settings
from decnet.db.repository import BaseRepository
from decnet.errors import BusUnavailable, ConfigError
from decnet.runtime import KNOWN_WORKERS
from decnet.ttp.worker import run_ttp_worker_loop
from tests.dbkit import migrated

NAMES = {
    "decnet.bus.topics": "TOPOLOGY DECKY ATTACKER IDENTITY CREDENTIAL EMAIL CANARY ATTRIBUTION TTP SYSTEM topology_mutation"
    " topology_status decky system system_health system_control attacker attacker_observation identity credential"
    " email_topic canary attribution ttp ttp_rule_fired ttp_rule_reloaded ttp_rule_state",
    "decnet.bus.base": "Event BaseBus Subscription matches",
    "decnet.bus.factory": "get_bus",
    "decnet.bus.publish": "publish_safely run_health_heartbeat run_control_listener run_control_listener_signal",
    "decnet.ttp.base": "KNOWN_SOURCE_KINDS TaggerEvent Tagger TolerantTagger WatchableTagger",
    "decnet.ttp.factory": "get_tagger CompositeTagger",
    "decnet.ttp.rule_engine": "",
    "decnet.ttp.worker": "run_ttp_worker_loop _TOPICS",
    "decnet.ttp.store.base": "RuleStore RuleState RuleChange",
    "decnet.ttp.store.factory": "get_rule_store",
    "decnet.ttp.store.impl.filesystem": "",
    "decnet.ttp.store.impl.database": "",
    "decnet.db.repository": "BaseRepository",
    "decnet.logs": "get_logger",
    "decnet.runtime": "KNOWN_WORKERS",
    "decnet.attribution": "aggregate_observations merge_categorical merge_numeric merge_hash",
    "decnet.attribution.worker": "run_attribution_loop handle_observation_event tick_multi_actor _now",
    "decnet.mutator": "mutate_all mutate_decky run_watch_loop",
    "decnet.telemetry": "get_tracer",
}
EMPTY = inspect.Parameter.empty
SIGNATURES: dict[str, list[tuple[str, Any, bool]]] = {
    "decnet.bus.publish.publish_safely": [
        ("bus", EMPTY, False), ("topic", EMPTY, False), ("payload", EMPTY, False), ("event_type", "", False)],
    "decnet.bus.publish.run_health_heartbeat": [
        ("bus", EMPTY, False), ("worker", EMPTY, False), ("interval", 10.0, True), ("extra", None, True)],
    "decnet.bus.publish.run_control_listener": [("bus", EMPTY, False), ("worker", EMPTY, False), ("shutdown", EMPTY, False)],
    "decnet.bus.publish.run_control_listener_signal": [("bus", EMPTY, False), ("worker", EMPTY, False)],
    "decnet.attribution.aggregate_observations": [("observations", EMPTY, False), ("value_kind", None, True)],
    "decnet.attribution.worker.run_attribution_loop": [
        ("repo", EMPTY, False), ("shutdown", None, True), ("multi_actor_tick_secs", None, True), ("bus", None, True)],
    "decnet.attribution.worker.handle_observation_event": [("bus", EMPTY, False), ("repo", EMPTY, False), ("event", EMPTY, False)],
    "decnet.attribution.worker.tick_multi_actor": [("bus", EMPTY, False), ("repo", EMPTY, False), ("last_fired", EMPTY, False)],
    "decnet.ttp.worker.run_ttp_worker_loop": [
        ("repo", EMPTY, False), ("poll_interval_secs", 60.0, True), ("tagger", None, True), ("shutdown", None, True),
        ("bus", None, True)],
    "decnet.mutator.mutate_decky": [
        ("name", EMPTY, False), ("repo", EMPTY, False), ("bus", None, False), ("trigger", "operator", False)],
    "decnet.mutator.mutate_all": [
        ("repo", EMPTY, False), ("force", False, False), ("bus", None, False), ("only", None, False)],
    "decnet.mutator.run_watch_loop": [
        ("repo", EMPTY, False), ("poll_interval_secs", 10.0, True), ("bus", None, True), ("shutdown", None, True)],
}  # fmt: skip
"""Parameters in order: name, default, keyword only; further ones of ours need a keyword and have a default."""


@pytest.mark.parametrize("module", NAMES)
def test_every_name_that_others_import_is_there(module: str) -> None:
    found = import_module(module)
    assert [name for name in NAMES[module].split() if not hasattr(found, name)] == []


@pytest.mark.parametrize("path", SIGNATURES)
def test_what_others_call_takes_what_the_design_says(path: str) -> None:
    module, _, name = path.rpartition(".")
    given = inspect.signature(getattr(import_module(module), name)).parameters
    shape = [(p.name, p.default, p.kind is p.KEYWORD_ONLY) for p in given.values()]
    wanted = SIGNATURES[path]
    assert shape[: len(wanted)] == wanted
    assert all(only and default is not EMPTY for _, default, only in shape[len(wanted) :])


def test_the_kinds_of_the_contract_are_what_they_are_said_to_be() -> None:
    from decnet.ttp.store.base import RuleChange, RuleState

    assert dataclasses.is_dataclass(RuleState)
    assert RuleState.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert issubclass(RuleChange, tuple)
    assert RuleChange._fields
    known = ("sensors", "recorder", "behave", "ttp", "attribution", "mutator", "intel", "decoys")
    assert known == KNOWN_WORKERS


async def test_without_a_bus_news_and_listeners_do_nothing_and_return() -> None:
    shutdown = asyncio.Event()
    assert await publish_safely(None, "system.log", {}) is False
    await asyncio.wait_for(run_control_listener(None, "ttp", shutdown), 5)
    await asyncio.wait_for(run_control_listener_signal(None, "ttp"), 5)
    assert not shutdown.is_set()
    beats: list[int] = []

    def extra() -> dict[str, Any]:
        beats.append(1)
        return {}

    beating = asyncio.create_task(run_health_heartbeat(None, "ttp", interval=0.001, extra=extra))
    while len(beats) < 3:
        await asyncio.sleep(0)
    beating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beating


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory on which no engine runs, as the settings that a lone worker loads."""
    monkeypatch.setenv("DECNET_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DECNET_RUNTIME__RESTART_BACKOFF_S", "0.01")
    monkeypatch.setenv("DECNET_RUNTIME__HEARTBEAT_S", "0.05")
    return tmp_path


@pytest.mark.parametrize("kind", ["null", "nats"])
@pytest.mark.parametrize(
    ("loop", "says"),
    [
        (run_ttp_worker_loop, "bus lost, poll-only"),
        (run_attribution_loop, "bus lost, idle until bus returns"),
    ],
)
async def test_a_lone_worker_without_a_bus_is_idle_and_says_so_once(
    kind: str, loop: Any, says: str, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECNET_BUS_TYPE", kind)
    repo = await BaseRepository.open(await migrated(nowhere / "own.sqlite"))
    session = {
        "session_id": "s",
        "attacker_uuid": "a",
        "attacker_ip": "203.0.113.1",
        "decky_id": "d",
        "service": "ssh",
    }
    await repo.upsert_sessions([{**session, "started_at": 1.0, "ended_at": 2.0, "part": 1, "parts": 1}])
    shutdown = asyncio.Event()
    with capture_logs() as said:
        more = {"poll_interval_secs": 0.02} if loop is run_ttp_worker_loop else {}
        alone = asyncio.create_task(loop(repo, shutdown=shutdown, **more))
        while not any(line["event"] == says for line in said):
            assert not alone.done(), alone
            await asyncio.sleep(0.01)
        name = "ttp" if loop is run_ttp_worker_loop else "attribution"
        while (
            beat := {row["worker"]: row["payload"] for row in await repo.heartbeats()}.get(name)
        ) is None or (beat["state"] != "waiting_for_bus"):
            await asyncio.sleep(0.01)
        while name == "ttp" and await repo.untagged_count():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        shutdown.set()
        await asyncio.wait_for(alone, 20)
    assert [line["event"] for line in said].count(says) == 1
    await repo.close()


async def test_only_what_is_nowhere_is_absent(nowhere: Path) -> None:
    assert isinstance(bus_of_lone_worker("x", load_settings()), AbsentBus)
    given = Settings(data_dir=nowhere, bus=BusSettings(url="nats://127.0.0.1:1"))
    assert not isinstance(bus_of_lone_worker("x", given), NullBus), "an address may come to life"
    with pytest.raises(ConfigError, match="no bus URL"):
        get_bus("x", load_settings())
    absent = AbsentBus("x")
    await absent.connect()
    assert not absent.connected
    with pytest.raises(BusUnavailable):
        await absent.publish_events([])
