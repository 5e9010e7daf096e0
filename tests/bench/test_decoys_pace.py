"""What our own decoys take in a second without losing an event: trips over HTTP, questions over DNS, mails.

Beside the wall clock stands what this process itself worked, which other work on the machine does not lengthen. The crowd is a process of its own; rows and events are counted in the database afterwards. A trip is one request for a
token, of which the first of a token and a peer in a quarter of an hour is an event and the others its count.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from decnet.db.repository import BaseRepository
from decnet.decoys.canary.desk import Desk
from decnet.decoys.dns.listener import CanaryDns
from decnet.decoys.http.listener import CanaryHttp
from decnet.decoys.listener import Place
from decnet.decoys.mail.listener import MailListener
from tests.bench.figures import Table
from tests.bench.knocking import PEERS, ZONE
from tests.dbkit import open_repo
from tests.decoykit import KEY, free_port, settings_of, token

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]
TRIPS, QUESTIONS, MAILS = 8_000, 20_000, 1_000
TOKENS = 50


async def knock(kind: str, port: int, count: int, *slugs: str) -> tuple[float, int]:
    """Seconds and good answers of a crowd in another process."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.knocking", kind, str(port), str(count), *slugs,
        stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    said, _ = await child.communicate()
    seconds, good = said.split()
    return float(seconds), int(good)


async def tokens(repo: BaseRepository) -> list[str]:
    """Slugs of tokens that lie somewhere."""
    slugs = [f"{number:026d}" for number in range(TOKENS)]
    for number, slug in enumerate(slugs):
        await repo.canary_add(token(f"url-{number}", slug))
    return slugs


async def count(repo: BaseRepository, what: str) -> int:
    from sqlalchemy import text

    async with repo.db.read() as session:
        return int((await session.execute(text(what))).scalar_one() or 0)


async def emptied(desk: Desk) -> float:
    """Seconds until all that was seen is stored."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while desk.waiting:
        await asyncio.sleep(0.01)
    return loop.time() - began


async def test_trips_over_http(tmp_path: Path, table: Table) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        slugs = await tokens(repo)
        settings = settings_of(tmp_path, canary_http={"enabled": True, "port": free_port()})
        desk = Desk(settings, repo)
        listener = CanaryHttp(Place(settings, repo, KEY), desk)
        await listener.start()
        task = asyncio.create_task(desk.run())
        try:
            began = time.process_time()
            seconds, good = await knock("http", listener.port, TRIPS, *slugs)
            seconds += await emptied(desk)
            worked = time.process_time() - began
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await listener.stop()
        stored = await count(repo, "SELECT sum(hits) FROM canary_trigger")
        events = await count(repo, "SELECT count(*) FROM outbox")
    print(
        f"\n{good} trips in {seconds:.1f} s: {good / seconds:.0f} a second, {worked / good * 1e6:.0f} us of work each; {dict(desk.counts)}"
    )
    assert (good, stored, events) == (TRIPS, TRIPS, TOKENS * PEERS)
    assert not desk.counts["canary_hits_dropped"]
    table.add("microseconds a trip over HTTP", 1e6 * seconds / good, 1e6 / 2_000, "us")


async def test_questions_over_dns(tmp_path: Path, table: Table) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        slugs = await tokens(repo)
        own: dict[str, Any] = {"enabled": True, "port": free_port(), "zone": ZONE, "per_second_peer": 100}
        settings = settings_of(tmp_path, canary_dns=own, max_waiting_hits=QUESTIONS)
        desk = Desk(settings, repo)
        listener = CanaryDns(Place(settings, repo, KEY), desk)
        await listener.start()
        task = asyncio.create_task(desk.run())
        try:
            began = time.process_time()
            seconds, good = await knock("dns", listener.port, QUESTIONS, *slugs)
            seconds += await emptied(desk)
            worked = time.process_time() - began
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await listener.stop()
        trips = await count(repo, "SELECT sum(trips) FROM canary_token")
    print(
        f"\n{good} questions in {seconds:.1f} s: {good / seconds:.0f} a second, {worked / good * 1e6:.0f} us of work each; {dict(desk.counts)}"
    )
    assert (good, trips) == (QUESTIONS, QUESTIONS)
    assert not desk.counts["canary_hits_dropped"]
    table.add("microseconds a question over DNS", 1e6 * seconds / good, 1e6 / 5_000, "us")


async def test_mails(tmp_path: Path, table: Table) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        settings = settings_of(tmp_path, mail={"enabled": True, "port": free_port()})
        listener = MailListener(Place(settings, repo, KEY))
        await listener.start()
        try:
            began = time.process_time()
            seconds, good = await knock("mail", listener.port, MAILS)
            worked = time.process_time() - began
        finally:
            await listener.stop()
        events = await count(repo, "SELECT count(*) FROM outbox")
    print(
        f"\n{good} mails in {seconds:.1f} s: {good / seconds:.0f} a second, {worked / good * 1e6:.0f} us of work each"
    )
    assert (good, events, listener.figures["mail_not_stored"]) == (MAILS, MAILS, 0)
    table.add("milliseconds a mail", 1e3 * seconds / good, 1e3 / 100, "ms")
