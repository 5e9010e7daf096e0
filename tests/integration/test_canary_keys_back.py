"""Planted AWS and SSH keys that come back on a decoy: a trip for a token, an attacker and a quarter of an hour, on both databases."""

from __future__ import annotations

import base64
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.bus.memory import MemoryBus
from decnet.db.repository import BaseRepository
from decnet.decoys.canary import elsewhere, reuse
from decnet.decoys.canary.baits.keys import aws_key_id, md5_fingerprint, public_blob, ssh_fingerprint
from decnet.decoys.canary.reuse import ssh_value
from decnet.decoys.canary.sightings import MAX_SOURCES
from decnet.decoys.worker import DecoysWorker
from decnet.ids import attacker_id
from decnet.runtime.received import Received, received
from decnet.runtime.worker import transaction
from tests.dbkit import KINDS, open_repo
from tests.decoykit import SLUG, START, settings_of, token, told

AWS = aws_key_id(SLUG)
OTHER = SLUG[:-1] + "c"
IP = "203.0.113.70"


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as found:
        await found.canary_add(token("aws-1", SLUG, kind="aws", watched=AWS, decky_id="web-01"))
        await found.canary_add(
            token("ssh-1", OTHER, kind="ssh", watched=ssh_fingerprint(OTHER), decky_id="web-02")
        )
        yield found


def typed(text: str, session: str = "s1", after: float = 0.0, **more: Any) -> Received:
    payload = {
        "session_id": session, "attacker_ip": IP, "decky_id": "db-01", "ended_at": START + after,
        "commands": [{"command_text": "id"}, {"command_text": text}], **more,
    }  # fmt: skip
    return received(Event("attacker.session.ended", payload, id=f"e-{session}-{after}", ts=START + after))


def offered(key: str, session: str = "s2", after: float = 0.0) -> Received:
    payload = {
        "session_id": session,
        "attacker_ip": IP,
        "decky_id": "db-01",
        "type": "public_key",
        "public_key": key,
    }
    return received(Event("attacker.fingerprinted", payload, id=f"f-{session}", ts=START + after))


async def taken(repo: BaseRepository, *batch: Received) -> int:
    async with transaction(repo) as tx:
        return (await reuse.take(tx, batch))["canary_keys_back"]


async def test_an_aws_key_id_that_is_typed_is_a_trip(repo: BaseRepository) -> None:
    assert await taken(repo, typed(f"export AWS_ACCESS_KEY_ID={AWS}")) == 1
    (event,) = await told(repo)
    (row,) = await repo.canary_triggers("aws-1")
    assert (event["topic"], event["attacker_ip"], event["decky_id"], event["session_id"], event["trigger_id"]) == (
        "canary.aws-1.triggered", IP, "db-01", "s1", row["trigger_id"],
    )  # fmt: skip
    assert (row["via"], row["hits"], row["peer"], event["ts"]) == ("key", 1, IP, START)


async def test_as_a_login_name_too(repo: BaseRepository) -> None:
    payload = {"attacker_ip": IP, "session_id": "s", "username": AWS, "secret_hmac": "ab", "service": "http"}
    assert await taken(repo, received(Event("credential.captured", payload, id="c", ts=START))) == 1


@pytest.mark.parametrize(
    "text", [AWS[:-1], AWS + "A", "X" + AWS, aws_key_id(OTHER), AWS.lower(), "AKIA", ""]
)  # fmt: skip
async def test_other_words_are_none(tmp_path: Path, text: str) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        await repo.canary_add(token("aws-1", SLUG, kind="aws", watched=AWS))
        assert await taken(repo, typed(text)) == 0
        assert (await told(repo), await repo.canary_triggers()) == ([], [])


async def test_an_ssh_key_that_is_offered_is_a_trip_however_it_is_logged(repo: BaseRepository) -> None:
    blob = public_blob(OTHER)
    forms = [
        md5_fingerprint(blob), "MD5:" + md5_fingerprint(blob).upper(), ssh_fingerprint(OTHER), ssh_fingerprint(OTHER) + "=",
        "ssh-ed25519 " + base64.b64encode(blob).decode() + " me@here", base64.b64encode(blob).decode(),
    ]  # fmt: skip
    assert await taken(repo, *(offered(form, f"s{n}", n * 900.0) for n, form in enumerate(forms))) == len(
        forms
    )
    assert {event["topic"] for event in await told(repo)} == {"canary.ssh-1.triggered"}


@pytest.mark.parametrize(
    "text", ["", "SHA1:ab", "aa:bb", "AAAA", "ssh-rsa !!!!", "AAAA" + "B" * 21, "ab" * 16]
)
def test_what_is_no_key_has_no_value(text: str) -> None:
    assert ssh_value(text) is None


async def test_deliveries_that_come_twice_and_in_any_order_end_in_the_same_rows(tmp_path: Path) -> None:
    events = [typed(AWS, f"s{n}", n * 400.0) for n in range(6)]
    found = []
    for seed in range(6):
        place = tmp_path / str(seed)
        place.mkdir()
        async with open_repo("sqlite", place) as repo:
            await repo.canary_add(token("aws-1", SLUG, kind="aws", watched=AWS))
            order = events * 2
            random.Random(seed).shuffle(order)
            for start in range(0, len(order), 3):
                await taken(repo, *order[start : start + 3])
            rows = [
                (r["trigger_id"], r["hits"], r["first_at"], r["last_at"])
                for r in await repo.canary_triggers()
            ]
            ids = {event["id"] for event in await told(repo)}
            row = await repo.canary_token("aws-1")
            assert row is not None
            found.append((sorted(rows), ids, row["trips"], row["first_trip_at"], row["last_trip_at"]))
    assert all(one == found[0] for one in found)
    assert sum(hits for _, hits, *_ in found[0][0]) == found[0][2] == 6


async def test_one_trigger_counts_so_many_sessions(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        await repo.canary_add(token("aws-1", SLUG, kind="aws", watched=AWS))
        await taken(repo, *(typed(AWS, f"s{n}") for n in range(MAX_SOURCES)))
        (row,) = await repo.canary_triggers()
        assert row["hits"] == MAX_SOURCES
        async with transaction(repo) as tx:
            assert await reuse.take(tx, [typed(AWS, "one more"), typed(AWS, "s1")]) == {
                "canary_keys_left_out": 1,
                "canary_keys_known": 1,
            }
        (row,) = await repo.canary_triggers()
        assert row["hits"] == MAX_SOURCES


async def test_a_revoked_key_is_none(repo: BaseRepository) -> None:
    from datetime import UTC, datetime

    await repo.canary_revoked("aws-1", datetime.now(UTC))
    assert await taken(repo, typed(AWS)) == 0


async def test_without_an_address_the_attackers_id_stands(repo: BaseRepository) -> None:
    uuid = attacker_id(IP)
    one = typed(AWS, attacker_uuid=uuid, attacker_ip=None)
    assert await taken(repo, one) == 1
    (event,) = await told(repo)
    assert event["attacker_uuid"] == uuid
    assert "attacker_ip" not in event


async def test_the_worker_reads_events_for_it_only_when_it_is_told_to(tmp_path: Path) -> None:
    assert DecoysWorker(settings_of(tmp_path)).topics == elsewhere.TOPICS
    worker = DecoysWorker(settings_of(tmp_path, watch_keys=True))
    assert worker.topics == (*elsewhere.TOPICS, *reuse.TOPICS)
    async with open_repo("sqlite", tmp_path) as repo:
        await worker.start(repo, MemoryBus("t"))
        assert list(worker.background()) == ["bait-news", "canary-desk", "fleet-decoys"]
        await repo.canary_add(token("aws-1", SLUG, kind="aws", watched=AWS))
        batch: Sequence[Received] = [typed(AWS), received(Event("decky.x.traffic", {}))]
        async with transaction(repo) as tx:
            await worker.handle(batch, tx)
        assert worker.health()["canary_keys_back"] == 1
