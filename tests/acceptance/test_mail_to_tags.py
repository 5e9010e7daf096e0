"""Mail through a whole engine: over SMTP into the decoy, judged by every rule about mail, and shown as attackers and tags."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from decnet.config import load_settings
from decnet.db.repository import BaseRepository
from decnet.decoys.mail.listener import MailListener
from decnet.decoys.worker import DecoysWorker
from decnet.engine import Engine
from decnet.ids import attacker_id
from tests.canarykit import free_ports
from tests.dbkit import KINDS, migrated_url
from tests.mailkit import case, case_bytes
from tests.smtpkit import Client, sent

IDLE_S = 0.4


async def _say(listener: MailListener, one: dict[str, Any], times: int) -> None:
    """Plays a case; its peer is what the decoy is told, since tests come from loopback only."""
    said = one["input"]["envelope"]
    real = listener.connection
    listener.connection = lambda _, port: real(said["peer"], port)  # type: ignore[method-assign]
    client = Client(*await asyncio.open_connection("127.0.0.1", listener.port))
    try:
        await client.answer()
        await client.say(f"EHLO {said['helo']}")
        if "auth" in said:
            assert (await client.say("AUTH PLAIN AHRlc3QAdGVzdA==")).startswith("235")
        for _ in range(times):
            answer = await sent(client, case_bytes(one), *said["rcpt"], mail_from=said["mail_from"])
            assert answer.startswith("250")
        await client.say("QUIT")
    finally:
        await client.close()
        listener.connection = real  # type: ignore[method-assign]


async def _open(engine: Engine) -> MailListener:
    """The mail decoy of an engine, as soon as its port is open."""
    worker = engine.supervisor.runners["decoys"].worker
    assert isinstance(worker, DecoysWorker)
    for _ in range(1000):
        found = [one for one in worker.listeners if isinstance(one, MailListener)]
        if found and found[0]._server is not None:
            return found[0]
        await asyncio.sleep(0.02)
    raise AssertionError("no port was opened")


async def _rules_of(repo: BaseRepository, one: dict[str, Any]) -> set[str]:
    attacker = attacker_id(one["input"]["envelope"]["peer"])
    return {tag["rule_id"] for tag in await repo.list_tags(attacker=attacker, limit=0)}


@pytest.mark.parametrize("kind", KINDS)
async def test_the_cases_of_mail_give_their_tags(tmp_path: Path, kind: str) -> None:
    one, two = case("A1"), case("A2")
    (port,) = free_ports(1)
    async with migrated_url(kind, tmp_path) as url:
        settings = load_settings(
            data_dir=tmp_path / "data",
            db=url,
            bus={"type": "memory"},
            workers=("recorder", "ttp", "decoys"),
            ttp_rule_store_type="filesystem",
            decoys={"mail": {"enabled": True, "port": port, "decky": "mx-02"}},
        )
        engine = Engine(settings)
        await engine.start()
        try:
            listener = await _open(engine)
            await _say(listener, one, 1)
            assert await engine.until_idle(IDLE_S) is None
            first = await _rules_of(engine.repo, one)
            await _say(listener, one, 1)
            await _say(listener, two, 1)
            assert await engine.until_idle(IDLE_S) is None
            assert "L0302" not in first
            for each in (one, two):
                found = await _rules_of(engine.repo, each)
                assert set(each["expect"]["rules"]) <= found
                assert not set(each["expect"]["no_rules"]) & found
            (login,) = await engine.repo.list_credentials(limit=0)
            assert (login["username"], login["service"]) == ("test", "smtp")
            known = {row["attacker_ip"] for row in await engine.repo.list_attackers(limit=0)}
            assert known == {"203.0.113.41", "2001:db8:9::25"}
            assert engine.supervisor.runners["decoys"].worker.health()["mail_messages"] == 3
        finally:
            await engine.stop(1.0)
