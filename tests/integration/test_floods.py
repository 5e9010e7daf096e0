"""A flood of like requests is told once a session, whatever it comes as: whole, in parts, in any order, again, later."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.bus.null import NullBus
from decnet.config import Settings, load_settings
from decnet.db.repository import BaseRepository
from decnet.home import packaged_rules_dir
from decnet.recorder.worker import RecorderWorker
from decnet.runtime.worker import transaction
from decnet.ttp.backfill import run_backfill
from decnet.ttp.store.factory import get_rule_store
from decnet.ttp.worker import TtpWorker
from tests.dbkit import KINDS, open_repo
from tests.rowkit import TABLES
from tests.wirekit import taken

EVER = datetime.fromtimestamp(0, UTC), datetime.fromtimestamp(1e9, UTC)
RULES = (
    "R0870_request_flood",
    "R0101_c2_web",
    "R0145_tool_transfer_host_proxy",
    "R0033_internet_check",
    "R0001_*",
)
REQUEST = "curl --connect-to ::a -A x https://victim.example.net/?q={}"
SESSION = "s1"
FLOOD = f"{SESSION}#flood#https://victim.example.net/"
Tag = tuple[str, str, str]


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


def judging_by(data: Path, *rules: str) -> Settings:
    """An engine's settings with some shipped rules."""
    folder = data / "rules"
    folder.mkdir(parents=True)
    for name in rules:
        for path in packaged_rules_dir().glob(f"{name}.yaml"):
            shutil.copy(path, folder)
    return load_settings(data_dir=data, rules=folder, ttp_rule_store_type="filesystem")


def lines(*texts: str) -> list[dict[str, Any]]:
    return [{"id": f"c{i:05}", "command_text": text, "ts": 10.0 + i} for i, text in enumerate(texts)]


def flooding(count: int, *others: str) -> list[dict[str, Any]]:
    return lines(*(REQUEST.format(i) for i in range(count)), *others)


def ended(commands: Sequence[dict[str, Any]], part: int = 1, parts: int = 1, **more: Any) -> Event:
    payload = {"session_id": SESSION, "attacker_ip": "203.0.113.1", "decky_id": "d", "started_at": 1.0}
    payload |= {"ended_at": 9000.0, "part": part, "parts": parts, "commands": list(commands)} | more
    return Event("attacker.session.ended", payload, "", f"e{part}of{parts}{more.get('piece')}", 9000.0)


def parts_of(commands: Sequence[dict[str, Any]], *sizes: int) -> list[Event]:
    rest = list(commands)
    groups = [[rest.pop(0) for _ in range(size)] for size in sizes]
    groups.append(rest)
    return [ended(group, i, len(groups)) for i, group in enumerate(groups, start=1)]


async def live(repo: BaseRepository, settings: Settings, *events: Event) -> TtpWorker:
    """Each event a batch of its own: rows, then tags."""
    worker = TtpWorker(get_rule_store(settings, repo=repo), settings)
    recorder = RecorderWorker(settings)
    await recorder.start(repo, NullBus())
    await worker.start(repo, NullBus())
    for event in events:
        for one in (recorder, worker):
            async with transaction(repo) as tx:
                await one.handle(taken([event]), tx)
    return worker


async def shown(repo: BaseRepository) -> list[Tag]:
    """What stands: source, rule and technique of each tag."""
    rows = await repo.list_tags(limit=0)
    return sorted((r["source_id"], r["rule_id"], r["sub_technique_id"] or r["technique_id"]) for r in rows)


async def evidence(repo: BaseRepository) -> dict[str, Any]:
    (row,) = (row for row in await repo.list_tags(limit=0) if row["rule_id"] == "R0870")
    kept = await repo.tag_evidence([row["uuid"]])
    return {**kept[row["uuid"]], "seen_at": row["seen_at"].timestamp()}


TOLD = [("c00000", "R0145", "T1105"), ("c01200", "R0001", "T1082"), (FLOOD, "R0870", "T1499.002")]


async def test_a_thousand_like_requests_are_one_tag_and_999_are_one_by_one(
    repo: BaseRepository, settings: Settings
) -> None:
    await live(repo, settings, ended(flooding(999)))
    rules = [rule for _, rule, _ in await shown(repo)]
    assert {rule: rules.count(rule) for rule in set(rules)} == {"R0101": 999, "R0145": 999}
    worker = await live(repo, settings, ended(flooding(1000)))
    assert await shown(repo) == [("c00000", "R0145", "T1105"), (FLOOD, "R0870", "T1499.002")]
    assert worker.health()["tags_told_once"] == 1000 + 999
    told = await evidence(repo)
    assert (told["flood_count"], told["flood_host"], told["flood_seconds"]) == (
        1000,
        "victim.example.net",
        999.0,
    )
    assert (told["seen_at"], told["flood_url"]) == (10.0, "https://victim.example.net/")
    await live(repo, settings, ended(flooding(1001), ended_at=9001.0))
    assert (await evidence(repo))["flood_count"] == 1001, "it went on"


async def test_what_else_the_session_does_stands_and_each_other_reading_of_a_request_stands_once(
    lite: BaseRepository, settings: Settings
) -> None:
    others = ("uname -a", 'curl -A "Mozilla" http://elsewhere.example/', REQUEST.format(1) + "; uname -r")
    await live(lite, settings, ended(flooding(1200, *others)))
    assert await shown(lite) == sorted(
        [
            *TOLD,
            ("c01201", "R0101", "T1071.001"),
            ("c01202", "R0001", "T1082"),
            ("c01202", "R0101", "T1071.001"),
            ("c01202", "R0145", "T1105"),
        ]
    )


QUICK = ((1, 0, 2), (1, 2, 0))
ORDERS = [o if o in QUICK else pytest.param(o, marks=pytest.mark.slow) for o in permutations(range(3))]


@pytest.mark.parametrize("order", ORDERS)
async def test_parts_in_any_order_and_again_give_what_the_whole_gives(
    lite: BaseRepository, settings: Settings, order: tuple[int, ...]
) -> None:
    parts = parts_of(flooding(1200, "uname -a"), 600, 450)
    await live(lite, settings, *(parts[i] for i in order))
    assert await shown(lite) == TOLD
    assert ((await evidence(lite))["flood_count"], (await evidence(lite))["seen_at"]) == (1200, 10.0)
    await live(lite, settings, *(parts[i] for i in reversed(order)))
    assert await shown(lite) == TOLD
    assert (await evidence(lite))["flood_count"] == 1200


async def test_pieces_that_were_put_together_apart_count_together(
    repo: BaseRepository, settings: Settings
) -> None:
    commands = flooding(1200, "uname -a")
    pieces = [ended(commands[:700], piece="a", lines=700), ended(commands[700:], piece="b", lines=501)]
    await live(repo, settings, pieces[1], pieces[0])
    assert await shown(repo) == TOLD


@pytest.mark.slow
async def test_back_fill_gives_what_live_gave(repo: BaseRepository, settings: Settings) -> None:
    await live(repo, settings, *parts_of(flooding(1200, "uname -a"), 500))
    before = await evidence(repo)
    await run_backfill(*EVER, repo=repo, settings=settings)
    assert await shown(repo) == TOLD, "again changes nothing"
    async with repo.db.write() as session:
        for table in ("ttp_tag", "ttp_window_hit", "ttp_window_fire"):
            await session.execute(TABLES[table].delete())
    await run_backfill(*EVER, repo=repo, settings=settings)
    assert await shown(repo) == TOLD
    assert await evidence(repo) == before


async def test_back_fill_of_one_rule_tells_the_flood_along_and_takes_old_single_tags_away(
    lite: BaseRepository, settings: Settings, tmp_path: Path
) -> None:
    await live(lite, judging_by(tmp_path / "before", *RULES[1:]), ended(flooding(1200, "uname -a")))
    assert len(await shown(lite)) == 2401, "no rule tells floods: each request speaks for itself"
    await run_backfill(*EVER, ["R0101"], repo=lite, settings=settings)
    assert await shown(lite) == TOLD


async def test_many_requests_of_several_addresses_are_no_flood(
    lite: BaseRepository, settings: Settings
) -> None:
    texts = [f"curl -A x https://h{i % 2}.example/{i % 3}/?q={i}" for i in range(1800)]
    await live(lite, settings, ended(lines(*texts)))
    assert {rule for _, rule, _ in await shown(lite)} == {"R0101"}
    assert len(await shown(lite)) == 1800
