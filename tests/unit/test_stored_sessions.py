"""What comes of reading logs again, or in other orders, by readers that know nothing of each other: the same rows.

Each reading is by a fresh sensor without a checkpoint, so that only the stored sessions tell what is known.
"""

from __future__ import annotations

import asyncio
import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from decnet.bus.base import Event
from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.db.rows.intel import StoredAnswer
from decnet.errors import AmbiguousId
from decnet.recorder.worker import RecorderWorker
from decnet.runtime.worker import Transaction
from decnet.sensors.files.tailer import Line
from decnet.sensors.sources import CowrieSource
from decnet_tui.cli.main import app
from decnet_tui.model.session_page import fact_lines, read_session
from tests.dbkit import open_repo
from tests.unit.test_order_of_lines import DAY, KEY, START, line, rich, whole
from tests.wirekit import taken

Row = dict[str, Any]


def events_of(lines: list[bytes]) -> list[Event]:
    """What a fresh sensor tells of some lines."""
    source = CowrieSource(Settings(), KEY)
    return source.feed(Line("f", n, 0, data) for n, data in enumerate(lines, 1)) + source.end_all()


async def record(repo: BaseRepository, lines: list[bytes]) -> None:
    """One reading, stored."""
    worker = RecorderWorker(Settings())
    async with repo.transaction() as bound:
        tx = Transaction(bound)
        await worker.handle(taken(events_of(lines)), tx)
        assert tx.dead == []


async def rows_of(repo: BaseRepository) -> dict[str, list[Row]]:
    """Sessions with their commands, and credentials; without what tells how they were read."""
    listed = await repo.list_sessions(limit=0)
    sessions = [await repo.session_payload(row["session_id"]) for row in listed]
    async with repo.db.read() as session:
        found = await session.execute(text("SELECT * FROM credential ORDER BY credential_id"))
        credentials = [dict(row) for row in found.mappings()]
        count = (await session.execute(text("SELECT count(*) FROM command"))).scalar_one()
    assert count == sum(len(s["commands"]) for s in sessions if s)
    key = lambda s: (s["started_at"], s["sensor_session"])  # noqa: E731
    return {"sessions": sorted((s for s in sessions if s), key=key), "credentials": credentials}


def reading(folder: Path, *readings: list[bytes]) -> dict[str, list[Row]]:
    """What a fresh database holds after some readings, one after the other."""

    async def read() -> dict[str, list[Row]]:
        async with open_repo("sqlite", folder) as repo:
            for lines in readings:
                await record(repo, lines)
            return await rows_of(repo)

    return asyncio.run(read())


def plain(rows: dict[str, list[Row]], *, ids: bool = False) -> list[Row]:
    """Sessions without the ids that only the order of reading gives."""
    out = []
    for session in rows["sessions"]:
        commands = [{k: v for k, v in c.items() if ids or k != "id"} for c in session["commands"]]
        dropped = {"joined"} if ids else {"joined", "session_id"}
        out.append({k: v for k, v in session.items() if k not in dropped} | {"commands": commands})
    return out


LOG = rich("r0", START)
CUTS = (LOG[:7], LOG[7:12], LOG[12:])


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_a_session_in_three_files_read_by_three_readers_is_one_session(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    right = reading(tmp_path, LOG)
    found = reading(tmp_path, *(CUTS[i] for i in order))
    assert plain(found) == plain(right)
    (session,) = found["sessions"]
    assert (session["command_count"], session["auth"]["fail_count"]) == (3, 2)
    assert found["credentials"] == right["credentials"]


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0), (0, 1, 2)], ids=str)
def test_reading_again_in_the_right_order_adds_nothing(tmp_path: Path, order: tuple[int, ...]) -> None:
    torn = [CUTS[i] for i in order]
    first, again = reading(tmp_path, *torn), reading(tmp_path, *torn, LOG, LOG)
    assert plain(again, ids=True) == plain(first, ids=True)
    assert again["credentials"] == first["credentials"]


def test_blocks_in_another_order_take_no_ids_of_others(tmp_path: Path) -> None:
    """The first reading numbers what it knew at the close; the second would give that number to another line."""
    head, body, tail = LOG[:5], LOG[5:10], LOG[10:]
    first = reading(tmp_path, [*head, LOG[8], *tail, *body])
    again = reading(tmp_path, [*head, LOG[8], *tail, *body], LOG)
    assert plain(again, ids=True) == plain(first, ids=True)
    assert plain(again) == plain(reading(tmp_path, LOG))


GENERATIONS = [whole("TT8", START + i * DAY, i + 1) for i in range(3)]
OPEN = [lines[:-1] for lines in GENERATIONS]


@pytest.mark.parametrize("logs", [GENERATIONS, OPEN], ids=["closed", "closes missing"])
@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_generations_of_one_id_are_sessions_of_their_own_in_any_order(
    tmp_path: Path, order: tuple[int, ...], logs: list[list[bytes]]
) -> None:
    right = reading(tmp_path, [data for log in logs for data in log])
    assert [len(s["commands"]) for s in right["sessions"]] == [1, 2, 3]
    apart = reading(tmp_path, *(logs[i] for i in order))
    assert plain(apart) == plain({**right, "sessions": ended_as(apart, right)})
    at_once = reading(tmp_path, [data for i in order for data in logs[i]])
    assert [c["command_text"] for s in at_once["sessions"] for c in s["commands"]] == [
        c["command_text"] for s in right["sessions"] for c in s["commands"]
    ]
    again = reading(tmp_path, *(logs[i] for i in order), [data for log in logs for data in log], *logs)
    assert plain(again, ids=True) == plain({**apart, "sessions": ended_as(again, apart)}, ids=True)
    assert again["credentials"] == apart["credentials"]


@pytest.mark.parametrize("later", [12.0, 9 * 3600.0], ids=["at once", "hours later"])
@pytest.mark.parametrize("missing", [0, 1], ids=["whole", "without the connection"])
def test_newest_first_no_command_goes_to_the_next_attacker_with_the_same_id(
    tmp_path: Path, later: float, missing: int
) -> None:
    first = whole("TT8", START, 1)
    second = [data.replace(b"192.0.2.7", b"192.0.2.8") for data in whole("TT8", START + later, 2)][missing:]
    found = reading(tmp_path, [*reversed(second), *reversed(first)])
    who = [(s["attacker_ip"], [c["command_text"] for c in s["commands"]]) for s in found["sessions"]]
    assert sorted(who) == [
        ("192.0.2.7", ["echo TT8 0"]),
        ("192.0.2.8", ["echo TT8 0", "echo TT8 1"]),
    ]


def ended_as(found: dict[str, list[Row]], right: dict[str, list[Row]]) -> list[Row]:
    """Without a close a session ends for want of lines or of a file, as it was read."""
    return [
        {**r, "end_reason": f["end_reason"] if r["end_reason"] != "closed" else "closed"}
        for f, r in zip(found["sessions"], right["sessions"], strict=True)
    ]


def test_two_sensors_with_the_same_ids_share_nothing(tmp_path: Path) -> None:
    other = [data.replace(b'"pot"', b'"pan"').replace(b"192.0.2.7", b"192.0.2.8") for data in GENERATIONS[1]]
    found = reading(tmp_path, GENERATIONS[0], other, [*other, *GENERATIONS[0]])
    assert [(s["decky_id"], s["attacker_ip"], len(s["commands"])) for s in found["sessions"]] == [
        ("pot", "192.0.2.7", 1),
        ("pan", "192.0.2.8", 2),
    ]


def test_a_piece_without_an_address_takes_the_attacker_from_nobody(tmp_path: Path) -> None:
    nameless = [data.replace(b'"src_ip": "192.0.2.7"', b'"x": 1') for data in CUTS[2]]
    for order in ((CUTS[0], CUTS[1], nameless), (nameless, CUTS[1], CUTS[0])):
        (session,) = reading(tmp_path, *order)["sessions"]
        assert session["attacker_ip"] == "192.0.2.7"


def test_a_telnet_session_is_one_however_its_beginning_is_read(tmp_path: Path) -> None:
    log = rich("TT9", START)
    log[0] = line("TT9", "session.connect", START, protocol="telnet")
    right = reading(tmp_path, log)
    found = reading(tmp_path, log[:3], log[3:])
    assert (found["credentials"], plain(found)) == (right["credentials"], plain(right))


async def _named(folder: Path) -> None:
    async with open_repo("sqlite", folder) as repo:
        await record(repo, [data for log in GENERATIONS for data in log])
        await record(repo, rich("r0", START))
        ids = [
            row["session_id"]
            for row in reversed(await repo.list_sessions(limit=0))
            if row["sensor_session"] == "TT8"
        ]
        assert await repo.sessions_named("TT8") == ids
        assert len(ids) == 3
        with pytest.raises(AmbiguousId, match="3 sessions have the id TT8: ") as ambiguous:
            await repo.session_named("TT8")
        assert all(f"{ident} (pot, 192.0.2.7, 20" in str(ambiguous.value) for ident in ids)
        (other,) = await repo.sessions_named("r0")
        assert [await repo.session_named(t) for t in ("r0", other, other[:6], other[:5], "", "zz")] == [
            other
        ] * 3 + [None] * 3
        data = await read_session(_Store(repo), "r0")
        assert (data.payload["session_id"], len(data.payload["commands"])) == (other, 3)


class _Store:
    """A console's session on a database."""

    keep_clear = False

    def __init__(self, repo: BaseRepository) -> None:
        self.repo = repo


def test_a_session_is_named_by_its_honeypots_id_its_own_or_the_beginning_of_it(tmp_path: Path) -> None:
    asyncio.run(_named(tmp_path))


def test_commands_of_the_shell_take_the_honeypots_id_and_list_several(tmp_path: Path) -> None:
    data = tmp_path / "data"
    url = f"sqlite:///{tmp_path / 'd.sqlite'}"

    async def fill() -> None:
        repo = await BaseRepository.open(url)
        await record(repo, [line for log in GENERATIONS for line in log])
        await repo.close()

    asyncio.run(fill())
    runner, at = CliRunner(), ["--db", url, "--data-dir", str(data)]
    shown = runner.invoke(app, ["sessions", "--session", "TT8", "--json", *at])
    rows = json.loads(shown.stdout)
    assert [row["sensor_session"] for row in rows] == ["TT8"] * 3
    refused = runner.invoke(app, ["tags", "--session", "TT8", *at])
    assert refused.exit_code == 1
    assert "3 sessions have the id TT8" in refused.output
    assert all(row["session_id"] in refused.output for row in rows)
    known = runner.invoke(app, ["sessions", "--session", rows[0]["session_id"][:8], "--json", *at])
    assert [row["session_id"] for row in json.loads(known.stdout)] == [rows[0]["session_id"]]


def test_what_found_no_room_is_stored_with_the_session(tmp_path: Path) -> None:
    async def read() -> Row:
        async with open_repo("sqlite", tmp_path) as repo:
            source = CowrieSource(Settings(sensor={"max_commands": 2}), KEY)
            lines = [
                line("s", "session.connect", START),
                *(line("s", "command.input", START + i, input="id") for i in range(1, 6)),
            ]
            lines += [line("s", "telnet.option", START + 10 + i, n=i) for i in range(1100)]
            events = source.feed(Line("f", n, 0, data) for n, data in enumerate(lines, 1)) + source.end_all()
            assert (source.bounds()["commands_dropped"], source.bounds()["items_dropped"]) == (3, 100)
            async with repo.transaction() as bound:
                await RecorderWorker(Settings()).handle(taken(events), Transaction(bound))
            (row,) = await repo.list_sessions()
            return row

    row = asyncio.run(read())
    assert (row["command_count"], row["commands_dropped"], row["items_dropped"]) == (5, 3, 100)


def test_a_clock_that_jumps_is_told_of_once_with_both_times() -> None:
    source = CowrieSource(Settings(), KEY)
    lines = [line("s", "session.connect", START), line("t", "session.connect", START + 400 * DAY)]
    lines += [line("s", "command.input", START + i, input="id") for i in range(1, 4)]
    source.feed(Line("f", n, 0, data) for n, data in enumerate(lines, 1))
    assert source.bounds()["clock_jumps"] == 1
    assert source.last_jump() == "pot: from 2023-11-14T22:13:20Z to 2024-12-18T22:13:20Z"
    fresh = CowrieSource(Settings(), KEY)
    fresh.restore(json.loads(json.dumps(source.to_state())))
    assert (fresh.bounds()["clock_jumps"], fresh.last_jump()) == (1, source.last_jump())


def test_failed_log_ins_that_are_read_twice_count_once(tmp_path: Path) -> None:
    (torn,) = reading(tmp_path, LOG[3:])["sessions"]
    assert (torn["auth"]["fail_count"], torn["started_at"]) == (1, START)
    (known,) = reading(tmp_path, LOG[3:], LOG)["sessions"]
    assert known["auth"] == {"fail_count": 2, "success": True, "usernames": ["admin", "root"]}


def test_what_virustotal_says_stands_beside_the_file_and_the_url_that_it_is_about() -> None:
    digest, url = "ab" * 32, "http://203.0.113.9/x"
    scan = {
        "eventid": "cowrie.virustotal.scanfile",
        "ts": 5.0,
        "fields": {"sha256": digest.upper(), "positives": 3, "total": 60, "scan_date": "2026-03-01"},
    }
    older = {**scan, "ts": 4.0, "fields": {"sha256": digest, "is_new": "true"}}
    page = {"eventid": "cowrie.virustotal.scanurl", "fields": {"url": url, "is_new": "true\x1b"}}
    other = {"eventid": "cowrie.other", "fields": {"sha256": "cd" * 32, "positives": 9}}
    payload = {
        "downloads": [{"url": url, "sha256": digest}, {"url": "", "sha256": "cd" * 32}],
        "uploads": [{"filename": "f", "sha256": digest}],
        "forwards": [{"host": "h", "url": url}],
        "extras": [scan, older, page, other],
    }  # fmt: skip
    lines = [line for _, line in fact_lines(payload)]
    said = "virustotal=3/60 (scanned 2026-03-01)"
    assert lines[0] == f"downloads url={url}  sha256={digest}  {said}  virustotal=not known there"
    assert lines[1] == f"downloads sha256={'cd' * 32}", "nobody scanned that one"
    assert lines[2] == f"uploads   filename=f  sha256={digest}  {said}"
    assert lines[3] == f"forwards  host=h  url={url}"
    assert len(lines) == 8


def test_what_services_say_of_a_file_or_a_url_stands_beside_it_with_its_day() -> None:
    digest, url = "ab" * 32, "http://91.92.93.94/x"

    def said(service: str, kind: str, value: str, known: bool, **fields: Any) -> StoredAnswer:
        return StoredAnswer(
            service=service, kind=kind, value=value, at=1_796_000_000.0, known=known, said=fields
        )

    services = [
        said("urlhaus", "sha256", digest, False),
        said("virustotal", "sha256", digest, True, virustotal_malicious=41, virustotal_label="x\x1b"),
        said("urlhaus", "url", url, True, urlhaus_listed=True, urlhaus_tags=["elf", "mirai"]),
        said("urlhaus", "sha256", "cd" * 32, True, urlhaus_listed=True),
    ]
    payload = {
        "downloads": [{"url": url, "sha256": digest}],
        "uploads": [{"filename": "f", "sha256": digest.upper()}, {"filename": "g", "sha256": None}],
    }
    day = "(asked 2026-11-30)"
    file = f"urlhaus=not known there {day}  virustotal=malicious 41, label x\\e {day}"
    assert [line for _, line in fact_lines(payload, services)] == [
        f"downloads url={url}  sha256={digest}  {file}  urlhaus=listed True, tags elf, mirai {day}",
        f"uploads   filename=f  sha256={digest.upper()}  {file}",
        "uploads   filename=g",
    ]


async def test_services_answers_are_looked_up_for_what_a_session_holds_only(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        rows = [
            StoredAnswer(service="urlhaus", kind=kind, value=value, at=1.0, known=True, said={})
            for kind, value in (("sha256", "ab" * 32), ("url", "http://a.ru/x"), ("sha256", "cd" * 32))
        ]
        await repo.intel_keep([], rows)
        payload = {
            "downloads": [{"url": "http://a.ru/x", "sha256": None}],
            "uploads": [{"sha256": "AB" * 32}],
        }
        own = {
            "session_id": "asked",
            "attacker_uuid": "a",
            "attacker_ip": "192.0.2.1",
            "started_at": 1.0,
            "ended_at": 2.0,
        }
        await repo.upsert_sessions([{**own, **payload}, {**own, "session_id": "bare"}])
        asked, bare = [await repo.session_page(name) for name in ("asked", "bare")]
        assert asked is not None and asked.services == rows[:2]  # noqa: PT018
        assert bare is not None and bare.services == []  # noqa: PT018
        assert await repo.session_page("nobody") is None
