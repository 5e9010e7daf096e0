"""What derived events are made of, counted at their thresholds on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from decnet.bus.null import NullBus
from decnet.config import load_settings
from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id, identity_id
from decnet.recorder import derive
from decnet.recorder.derive import derive_due, reused_id
from decnet.recorder.scores import score
from decnet.recorder.worker import RecorderWorker
from tests.dbkit import KINDS, open_repo
from tests.rowkit import TABLES, emptied, put, rows_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
T = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
A, B = attacker_id("192.0.2.1"), attacker_id("192.0.2.2")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path_factory.mktemp("producers")) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def repo(database: BaseRepository) -> BaseRepository:
    return await emptied(database)


async def test_a_mark_widens_and_is_taken_back_only_as_it_was_seen(repo: BaseRepository) -> None:
    await repo.due_mark({A: (T, T + 1), B: (T, T)})
    (mark, other) = await repo.due_take("recorder", 10)
    assert sorted([mark["attacker_uuid"], other["attacker_uuid"]]) == sorted([A, B])
    mine = mark if mark["attacker_uuid"] == A else other
    assert (mine["seq"], mine["since"], mine["until"]) == (1, T, T + 1)
    await repo.due_mark({A: (T - 5, T)})
    await repo.due_done("recorder", [mark, other])
    (left,) = await repo.due_take("recorder", 10)
    assert (left["attacker_uuid"], left["seq"], left["since"], left["until"]) == (A, 2, T - 5, T + 1), (
        "changed meanwhile"
    )
    assert (await repo.due_count("recorder"), await repo.due_count("ttp")) == (1, 2), "of this consumer only"
    await repo.due_done("recorder", [left])
    await repo.due_done("recorder", [])
    assert await repo.due_count("recorder") == 0
    await repo.due_mark({A: (T, T)}, ["ttp"])
    assert await repo.due_count("recorder") == 0
    assert len(await repo.due_take("ttp", 1)) == 1


async def test_what_is_told_is_told_once(repo: BaseRepository) -> None:
    assert await repo.announce({}) == []
    assert await repo.announce({"b": 1.0, "a": 2.0}) == ["a", "b"]
    assert await repo.announce({"b": 9.0, "c": 1.0, "a": 1.0}) == ["c"]
    assert (await rows_of(repo, "announcement", "key"))["b"]["ts"] == 1.0
    with pytest.raises(RuntimeError, match="boom"):  # noqa: PT012
        async with repo.transaction() as bound:
            assert await bound.announce({"d": 1.0}) == ["d"]
            raise RuntimeError("boom")
    assert await repo.announce({"d": 1.0}) == ["d"], "news that was rolled back is news"


async def test_the_newest_intel_counts_in_any_order(repo: BaseRepository) -> None:
    old, new, same = (A, T, {"n": 1}), (A, T + 0.5, {"n": 2}), (A, T + 0.5, {"n": 3})
    ends = []
    for order in ((old, new, same), (same, new, old), (new, old, same)):
        await emptied(repo)
        for one in order:
            await repo.upsert_intel([one])
        ends.append(await repo.intel_of([A, B]))
        await emptied(repo)
        await repo.upsert_intel(order)
        ends.append(await repo.intel_of([A]))
    assert all(found == ends[0] for found in ends)
    ((ts, payload),) = ends[0]
    assert ts == T + 0.5
    assert payload["n"] in (2, 3)
    await repo.upsert_intel([(B, -5.0, {"n": 1})])
    await repo.upsert_intel([(B, 1e9, {"n": 2}), (B, 2e8, {"n": 3})])
    assert (await repo.intel_of([B]))[0][1] == {"n": 2}, "by number, not as text"


def credential(key: str, ts: float = T, **more: Any) -> dict[str, Any]:
    base = {"credential_id": key, "attacker_uuid": A, "decky_id": "d1", "service": "ssh", "username": "root",
            "secret_kind": "password", "secret_hmac": "h", "first_seen": ts, "last_seen": ts}  # fmt: skip
    return {**base, **more}


async def test_reuse_begins_at_two_targets(repo: BaseRepository) -> None:
    """The same target twice is none; another service or decky is one; another name, secret or attacker is another pair."""
    rows: dict[str, dict[str, Any]] = {
        "base": {},
        "same target in another session": {"session_id": "s2"},
        "other name": {"username": "pi", "decky_id": "d2"},
        "other secret": {"secret_hmac": "g", "decky_id": "d2"},
        "other attacker": {"attacker_uuid": B, "decky_id": "d2"},
        "no secret": {"secret_hmac": None, "decky_id": "d2"},
        "no secret again": {"secret_hmac": None, "decky_id": "d3"},
    }
    await put(repo, "credential", *(credential(key, **row) for key, row in rows.items()))
    assert await repo.reused_credentials([A, B]) == []
    await put(repo, "credential", credential("other service", service="telnet", ts=T + 5))
    (found,) = await repo.reused_credentials([A, B])
    assert (found["attacker_uuid"], found["username"], found["secret_hmac"], found["target_count"]) == (
        A,
        "root",
        "h",
        2,
    )
    await put(
        repo,
        "credential",
        credential("other decky", decky_id="d9"),
        credential("nowhere", decky_id=None, service=None),
    )
    (found,) = await repo.reused_credentials([A, B])
    assert found["target_count"] == 4
    assert await repo.reused_credentials([B]) == []
    assert len(await repo.reused_credentials([A], T + 5)) == 1, "something is new from exactly then on"
    assert await repo.reused_credentials([A], T + 6) == []
    assert len(await repo.reused_credentials([A], -1.0)) == 1
    users = await repo.credential_users("root", "password", "h", 10)
    assert [(row["attacker_uuid"], row["decky_id"], row["service"]) for row in users if row["decky_id"] == "d1"] == [
        (A, "d1", "ssh"), (A, "d1", "telnet"),
    ]  # fmt: skip
    assert len(users) == 5
    assert len(await repo.credential_users("root", "password", "h", 2)) == 2
    assert await repo.credential_users("root", "token", "h", 10) == []
    assert len(await repo.credential_users("pi", "password", "h", 10)) == 1


async def test_a_secret_on_many_names_is_the_widest_one_of_an_identity(repo: BaseRepository) -> None:
    await repo.form_identities([A, B])
    await repo.merge_identities(identity_id(A), identity_id(B))
    await put(
        repo, "credential", credential("1"), credential("2", attacker_uuid=B, username="root", decky_id="d2")
    )
    assert await repo.spread_of_secrets([identity_id(A)]) == [], "one name is no spreading"
    await put(repo, "credential", credential("3", attacker_uuid=B, username="pi"))
    (found,) = await repo.spread_of_secrets([identity_id(A), identity_id(B)])
    assert (found["identity_uuid"], found["account_count"], found["target_count"]) == (identity_id(A), 2, 2)
    await put(
        repo,
        "credential",
        *(credential(f"g{n}", secret_hmac="g", username=f"u{n}", ts=T + 5) for n in range(3)),
    )
    (found,) = await repo.spread_of_secrets([identity_id(A)])
    assert (found["secret_hmac"], found["account_count"]) == ("g", 3)
    assert len(await repo.spread_of_secrets([identity_id(A)], least_accounts=3)) == 1
    assert await repo.spread_of_secrets([identity_id(A)], least_accounts=4) == []
    assert len(await repo.spread_of_secrets([identity_id(A)], since=T + 5)) == 1
    assert await repo.spread_of_secrets([identity_id(A)], since=T + 6) == []


async def test_attempts_and_starts_within_their_limits(repo: BaseRepository) -> None:
    await put(
        repo,
        "credential",
        *(credential(f"{n:+}", T + n) for n in range(-2, 3)),
        credential("b", attacker_uuid=B),
    )
    found = await repo.attempts([A], T - 1, T + 1, 10)
    assert [row["first_seen"] - T for row in found] == [-1.0, 0.0, 1.0], "both ends are in"
    assert [row["first_seen"] - T for row in await repo.attempts([A], T - 1, T + 1, 2)] == [-1.0, 0.0]
    assert len(await repo.attempts([A], -1.0, T + 9, 10)) == 5
    sessions = [{"session_id": f"s{n}", "attacker_uuid": A, "started_at": T + n} for n in range(4)]
    await put(repo, "session", *sessions, {"session_id": "x", "attacker_uuid": A})
    assert await repo.session_starts([A, B], 2) == {A: [T + 2, T + 3]}
    assert await repo.identities_of([A]) == {A: identity_id(A)}


async def test_the_counts_of_a_score(repo: BaseRepository) -> None:
    def session(key: str, **more: Any) -> dict[str, Any]:
        return {"session_id": key, "attacker_uuid": A, "service": "ssh", "decky_id": "d1", **more}

    await put(
        repo,
        "session",
        session("1", command_count=3),
        session("2", decky_id="d2"),
        session("3", service="http", command_count=0),
    )
    await put(
        repo, "credential", credential("1"), credential("2", username="pi"), credential("b", attacker_uuid=B)
    )
    counts = await repo.score_counts([A, B, "nobody"])
    assert counts[A] == {"event_count": 6, "service_count": 2, "decky_count": 2, "credential_count": 2}
    assert counts[B] == {"event_count": 0, "service_count": 0, "decky_count": 0, "credential_count": 1}
    assert counts["nobody"] == dict.fromkeys(counts[A], 0)


async def told(
    repo: BaseRepository, thresholds: tuple[float, ...] = (25.0, 50.0, 75.0)
) -> list[tuple[str, Any]]:
    """Runs the job and empties the outbox: (topic, threshold or target_count) of each event."""
    count = await derive_due(repo, thresholds)
    rows = await repo.outbox_take(100)
    await repo.outbox_delete([row for row, _ in rows])
    assert count == len(rows)
    told = [(e.topic, e.opened().payload) for _, e in rows]
    out = [(topic, said.get("threshold", said.get("target_count"))) for topic, said in told]
    return sorted(out, key=str)


async def test_a_threshold_is_crossed_exactly_at_its_value_upwards_and_once(repo: BaseRepository) -> None:
    counts = {"event_count": 12, "decky_count": 1, "service_count": 1, "credential_count": 0}
    value = score(counts)
    await put(
        repo,
        "session",
        {"session_id": "s", "attacker_uuid": A, "service": "ssh", "decky_id": "d", "command_count": 11},
    )
    await repo.due_mark({A: (T, T + 7)})
    exact, above = (value - 0.1, value), value + 0.1
    assert await told(repo, (above, *exact)) == [("attacker.scored", value - 0.1), ("attacker.scored", value)]
    assert await repo.due_count("recorder") == 0
    await repo.due_mark({A: (T, T)})
    assert await told(repo, (above, *exact)) == [], "once"
    async with repo.db.write() as session:
        await session.execute(TABLES["session"].delete())
    await repo.due_mark({A: (T, T)})
    assert await told(repo, exact) == [], "a score that fell tells nothing"
    await put(
        repo,
        "session",
        *(
            {"session_id": f"s{n}", "attacker_uuid": A, "service": "ssh", "decky_id": f"d{n}"}
            for n in range(20)
        ),
    )
    await repo.due_mark({A: (T, T)})
    assert await told(repo, exact) == [], "nor one that came back"
    assert await told(repo, (above,)) == [], "nothing is due, nothing is looked at"


async def test_every_page_of_the_due_is_worked_off(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(derive, "AT_ONCE", 3)
    for count in (2, 3, 4, 7):
        await emptied(repo)
        names = [f"a{n}" for n in range(count)]
        await put(repo, "session", *({"session_id": n, "attacker_uuid": n, "service": "ssh"} for n in names))
        await repo.due_mark(dict.fromkeys(names, (T, T)))
        assert len(await told(repo, (1.0,))) == count
        assert await repo.due_count("recorder") == 0


async def test_a_mark_that_came_while_we_worked_stays(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two engines by hand: the other one writes between our look and our commit."""
    await repo.due_mark({A: (T, T)})
    marks = await repo.due_take("recorder", 10)
    honest = derive._derive

    async def meanwhile(bound: Any, *args: Any) -> Any:
        out = await honest(bound, *args)
        await bound.due_mark({A: (T + 1, T + 1)})
        return out

    with monkeypatch.context() as patch:
        patch.setattr(derive, "_derive", meanwhile)
        patch.setattr(derive, "AT_ONCE", 100)
        await derive_due(repo, ())
    (left,) = await repo.due_take("recorder", 10)
    assert left["seq"] == marks[0]["seq"] + 1


async def test_news_are_rolled_back_with_their_marks(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(repo, "session", {"session_id": "s", "attacker_uuid": A, "service": "ssh"})
    await repo.due_mark({A: (T, T)})

    async def fails(*_: Any) -> None:
        raise RuntimeError("disk")

    with monkeypatch.context() as patch:
        patch.setattr(type(repo), "due_done", fails)
        with pytest.raises(RuntimeError, match="disk"):
            await derive_due(repo, (1.0,))
    assert await repo.outbox_count() == 0
    assert await repo.due_count("recorder") == 1
    assert await told(repo, (1.0,)) == [("attacker.scored", 1.0)]


async def test_reuse_is_told_at_two_four_and_eight_targets(repo: BaseRepository) -> None:
    heard = {}
    for n in range(1, 10):
        await put(repo, "credential", credential(str(n), T + n, decky_id=f"d{n}"))
        await repo.due_mark({A: (T + n, T + n)})
        heard[n] = await told(repo, ())
    assert {n: found for n, found in heard.items() if found} == {
        n: [("credential.reuse.detected", n)] for n in (2, 4, 8)
    }


async def test_reuse_that_began_earlier_than_was_known_is_told_once_more(repo: BaseRepository) -> None:
    begun = []
    for n, moment in enumerate((T + 5, T + 6, T + 5, T + 1, T + 1, T + 2)):
        await put(repo, "credential", credential(str(n), moment, decky_id=f"d{min(n, 2)}"))
        await repo.due_mark({A: (moment, moment)})
        await derive_due(repo, ())
        news = await repo.outbox_take(10)
        begun.append([event.opened().payload["first_seen"] for _, event in news])
        await repo.outbox_delete([number for number, _ in news])
    assert begun == [[], [T + 5], [], [T + 1], [], []]


async def test_reuse_names_its_own_places_and_everybody_who_tried(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(derive, "MAX_NAMED", 2)
    await put(repo, "credential", *(credential(f"a{n}", decky_id=f"d{n}") for n in range(3)))
    await put(repo, "credential", credential("b", attacker_uuid=B, decky_id="elsewhere", service="telnet"))
    await repo.due_mark({A: (T, T + 3)})
    await derive_due(repo, ())
    ((_, sealed),) = await repo.outbox_take(10)
    event = sealed.opened()
    assert event.payload == {
        "credential_id": reused_id({"attacker_uuid": A, "username": "root", "secret_kind": "password", "secret_hmac": "h"}),
        "attacker_uuid": A, "username": "root", "secret_kind": "password", "reuse_count": 2, "target_count": 3,
        "attacker_uuids": sorted([A, B]), "deckies": ["d0", "d1"], "services": ["ssh"], "first_seen": T,
    }  # fmt: skip
    assert event.ts == T + 3
    assert "secret_hmac" not in event.payload


async def test_the_job_counts_what_it_told(repo: BaseRepository) -> None:
    worker = RecorderWorker(load_settings())
    names = [f"a{n}" for n in range(3)]
    await put(
        repo, "credential", *(credential(f"{a}{d}", attacker_uuid=a, decky_id=d) for a in names for d in "xy")
    )
    await repo.due_mark(dict.fromkeys(names, (T, T)))
    (job,) = [job for job in worker.jobs if job.name == "derive"]
    for wanted in (3, 3):
        await job.run(repo, NullBus())
        assert worker.health()["derived"] == wanted
    assert (job.lease, job.by_data) == ("recorder.derive", True)
