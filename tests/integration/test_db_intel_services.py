"""Budgets, answers and questions of services in both databases: nothing is counted twice or less, the newest first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from decnet.db.repository import BaseRepository
from decnet.db.rows.intel import DueQuestion, ServiceState, StoredAnswer
from tests.dbkit import KINDS, open_repo
from tests.rowkit import emptied, put

pytestmark = pytest.mark.asyncio(loop_scope="module")
URL = "http://a.example.org/" + "x" * 2000


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BaseRepository]:
    folder: Path = tmp_path_factory.mktemp("intel")
    async with open_repo(request.param, folder) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def repo(database: BaseRepository) -> BaseRepository:
    return await emptied(database)


def state(day: int, used: int, failures: int = 0, rest: float = 0.0) -> ServiceState:
    return ServiceState(service="greynoise", day=day, used=used, failures=failures, rest_until=rest)


def answer(at: float, known: bool = True, **said: Any) -> StoredAnswer:
    return StoredAnswer(service="greynoise", kind="address", value="9.9.9.9", at=at, known=known, said=said)


def question(
    value: str, ts: float = 1.0, who: str | None = "a", not_before: float = 0.0, service: str = "greynoise"
) -> DueQuestion:
    return DueQuestion(
        service=service, kind="address", value=value, attacker_uuid=who, ts=ts, tries=0, not_before=not_before
    )


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        (state(5, 7), state(5, 8, 1, 99.5), state(5, 8, 1, 99.5)),
        (state(5, 7, 3, 99.5), state(5, 6), state(5, 7)),
        (state(5, 7), state(6, 1), state(6, 1)),
        (state(6, 3), state(5, 4), state(5, 4)),
    ],
    ids=["one more", "two at a time have both asked", "a new day", "a clock set back"],
)
async def test_what_was_used_of_a_day_never_shrinks(
    repo: BaseRepository, before: ServiceState, after: ServiceState, kept: ServiceState
) -> None:
    await repo.intel_keep([before], [])
    await repo.intel_keep([after], [])
    assert await repo.intel_services() == [kept]


async def test_the_newest_answer_stays_whole_and_exact_to_the_microsecond(repo: BaseRepository) -> None:
    at = 1_796_000_000.123457
    await repo.intel_keep([], [answer(at, servers={"9.9.9.9": "QakBot"})])
    await repo.intel_keep([], [answer(at - 1, known=False)])
    asked = ("greynoise", "address", "9.9.9.9")
    expected = [answer(at, servers={"9.9.9.9": "QakBot"})]
    assert await repo.intel_stored([asked, ("feodo", "address", "9.9.9.9")]) == expected
    assert await repo.intel_said_of("9.9.9.9") == expected
    assert await repo.intel_said_of("9.9.9.8") == []


async def test_a_question_that_waits_already_is_kept_and_gets_newer(repo: BaseRepository) -> None:
    await repo.intel_due_add([question("9.9.9.9", 5.0)])
    await repo.intel_due_later([(("greynoise", "address", "9.9.9.9"), 2, 50.0)])
    await repo.intel_due_add([question("9.9.9.9", 4.0), question("9.9.9.8", 4.5)])
    assert [(q["value"], q["ts"], q["tries"]) for q in await repo.intel_due_take("greynoise", 50.0, 9)] == [
        ("9.9.9.9", 5.0, 2), ("9.9.9.8", 4.5, 0),
    ]  # fmt: skip
    assert [q["value"] for q in await repo.intel_due_take("greynoise", 49.0, 9)] == ["9.9.9.8"]
    assert [q["value"] for q in await repo.intel_due_take("greynoise", 50.0, 1)] == ["9.9.9.9"]
    assert await repo.intel_due_take("feodo", 50.0, 9) == []


async def test_of_two_who_answer_one_question_only_one_takes_it_back(repo: BaseRepository) -> None:
    await repo.intel_due_add([question("9.9.9.9"), {**question(URL, who=None), "kind": "url"}])
    keys = [("greynoise", "address", "9.9.9.9"), ("greynoise", "url", URL)]
    assert await repo.intel_due_done(keys) == set(keys)
    assert await repo.intel_due_done(keys) == set()


async def test_what_waits_is_counted_by_service_with_what_may_be_asked_now(repo: BaseRepository) -> None:
    await repo.intel_due_add([question("9.9.9.9"), question("9.9.9.8", not_before=8.0)])
    await repo.intel_due_add([question("9.9.9.9", service="off")])
    assert await repo.intel_due_counts(["greynoise", "feodo"], 7.9) == [
        {"service": "greynoise", "waiting": 2, "ready": 1}
    ]
    assert (await repo.intel_due_counts(["greynoise"], 8.0))[0]["ready"] == 2


@pytest.mark.parametrize(("most", "gone", "left"), [(4, 0, "dcba"), (3, 1, "dcb"), (2, 2, "dc"), (0, 4, "")])
async def test_beyond_a_bound_the_oldest_questions_of_a_service_leave(
    repo: BaseRepository, most: int, gone: int, left: str
) -> None:
    rows = [question(v, ts) for v, ts in (("a", 1.0), ("b", 2.0), ("c", 3.0), ("d", 4.0))]
    await repo.intel_due_add([*rows, question("z", 0.5, service="feodo")])
    assert await repo.intel_due_trim("greynoise", most) == gone
    assert [q["value"] for q in await repo.intel_due_take("greynoise", 9.0, 9)] == list(left)
    assert len(await repo.intel_due_take("feodo", 9.0, 9)) == 1


async def test_questions_of_one_moment_leave_in_one_order(repo: BaseRepository) -> None:
    await repo.intel_due_add([question(v) for v in "cab"])
    assert await repo.intel_due_trim("greynoise", 2) == 1
    assert [q["value"] for q in await repo.intel_due_take("greynoise", 9.0, 9)] == ["a", "b"]


async def test_questions_about_an_attacker_leave_with_it(repo: BaseRepository) -> None:
    await put(repo, "attacker", {"attacker_uuid": "a", "last_seen": 1.0})
    await repo.intel_due_add([question("9.9.9.9", 99.0), question("9.9.9.8", 99.0, who=None)])
    await repo.purge_older(50.0)
    assert [q["value"] for q in await repo.intel_due_take("greynoise", 9.0, 9)] == ["9.9.9.8"]


async def test_addresses_come_before_files_and_these_before_urls_whatever_their_age(
    repo: BaseRepository,
) -> None:
    rows = [("u1", "url", 9.0), ("f1", "sha256", 5.0), ("f2", "sha256", 6.0), ("a1", "address", 1.0)]
    await repo.intel_due_add([{**question(value, ts), "kind": kind} for value, kind, ts in rows])
    assert [q["value"] for q in await repo.intel_due_take("greynoise", 9.0, 9)] == ["a1", "f2", "f1", "u1"]
    assert await repo.intel_due_trim("greynoise", 2) == 2, "what would be asked last leaves first"
    assert [q["value"] for q in await repo.intel_due_take("greynoise", 9.0, 9)] == ["a1", "f2"]
