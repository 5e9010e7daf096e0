"""Plain mode's typed lines, and what a demo is made of."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from decnet.addresses import special
from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.errors import ConfigError
from decnet.intel.places import Places
from decnet_tui.cli.main import _bare
from decnet_tui.launch import asked as module
from decnet_tui.launch.asked import HELP, MAX_LINE, Asked
from decnet_tui.launch.demo import ALERT_TICK_S, demo_settings, make_fleet


class Typed:
    """A plain mode whose commands are written down instead of run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: list[str] | None = None) -> None:
        self.said: list[str] = []
        self.ran: list[list[str]] = []
        self.stop = asyncio.Event()
        self.asked = Asked(Path("/nowhere"), None, self.said.append, self.stop)

        async def run(words: list[str]) -> list[str]:
            self.ran.append(words)
            return answers or []

        monkeypatch.setattr(self.asked, "_run", run)

    async def type(self, data: bytes) -> None:
        self.asked.take(data)
        job = asyncio.create_task(self.asked.run())
        await asyncio.sleep(0.01)
        job.cancel()


async def test_a_line_is_a_command_that_reads_and_its_answer_is_visible_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = Typed(monkeypatch, ["a\x1b[2J", "b"])
    await plain.type(b"sess")
    assert plain.ran == []
    await plain.type(b"ion 3e64\nfind 'a b'\n")
    assert plain.ran == [["session", "3e64"], ["find", "a b"]]
    assert plain.said[:3] == ["a\\e[2J", "b", "that is all"]


@pytest.mark.parametrize(
    "line",
    [
        "alerts ack x",
        "rules disable R0001",
        "fleet apply f",
        "--json alerts",
        "purge --yes",
        "ignore 1.2.3.4",
    ],
)
async def test_what_changes_something_is_left_to_the_shell(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Typed(monkeypatch)
    await plain.type(line.encode() + b"\n")
    assert plain.ran == []
    assert "is for the shell" in plain.said[0] or "no command here" in plain.said[0]


@pytest.mark.parametrize("line", ["alerts", "alerts --json", "rules list", "alerts show a1", "fleet"])
async def test_lists_of_groups_are_read(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Typed(monkeypatch)
    await plain.type(line.encode() + b"\n")
    assert plain.ran == [line.split()]


async def test_events_wait_while_somebody_reads_and_quit_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Typed(monkeypatch)
    await plain.type(b"hold\n")
    assert plain.asked.held
    await plain.type(b"go on\n\nfind 'a\nquit\n")
    assert not plain.asked.held
    assert plain.said[2] == HELP
    assert plain.said[3].startswith("No closing quotation")
    assert plain.stop.is_set()


async def test_a_line_that_does_not_end_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Typed(monkeypatch)
    await plain.type(b"find " + b"x" * (MAX_LINE - 5) + b"\n")
    await plain.type(b"find " + b"x" * (MAX_LINE - 4) + b"\n")
    for _ in range(3):
        plain.asked.take(b"y" * MAX_LINE)
    assert len(plain.asked._rest) == MAX_LINE + 1
    await plain.type(b"\nstatus\n")
    assert [words[0] for words in plain.ran] == ["find", "status"]


async def test_an_answer_is_what_the_program_writes(tmp_path: Path) -> None:
    said: list[str] = []
    asked = Asked(tmp_path, None, said.append, asyncio.Event())
    await asked._answer("status")
    assert "no database in" in said[0]
    assert said[-1] == "that is all"


async def test_an_answer_that_does_not_come_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.0)
    asked = Asked(tmp_path, None, print, asyncio.Event())
    assert await asked._run(["status"]) == ["no answer within a minute"]


# --- the demo


@pytest.mark.parametrize(
    ("word", "following", "given"),
    [("--demo", "", "--demo="), ("--demo", "night.jsonl", "--demo"), ("--demo", "--plain", "--demo="), ("--demo", "tags", "--demo="),
     ("--attach", "nats://h", "--attach"), ("--attach", "x.jsonl", "--attach="), ("--plain", "", "--plain")],
)  # fmt: skip
def test_an_option_has_a_value_only_where_one_follows(word: str, following: str, given: str) -> None:
    assert _bare(word, following) == given


def test_a_recorded_span_is_read_by_a_sensor_unless_it_is_played_at_a_pace(tmp_path: Path) -> None:
    file = tmp_path / "night.jsonl"
    file.write_text("")
    own = Settings(data_dir=tmp_path)
    with demo_settings(own, file) as played:
        assert [(one.kind, one.path) for one in played.sensors] == [("jsonl", file)]
        assert played.intel == own.intel
    with demo_settings(own, file, paced=True) as played:
        assert played.sensors == ()
    with pytest.raises(ConfigError, match="no such file"), demo_settings(own, tmp_path / "none.jsonl"):
        pass


def test_the_addresses_of_the_demo_have_countries_that_are_made_up_and_only_there(tmp_path: Path) -> None:
    with demo_settings(Settings(data_dir=tmp_path)) as played:
        assert played.attribution.multi_actor_tick_secs == ALERT_TICK_S <= 30
        places = Places.of(played)
    found = {ip: places.lookup(ip) for ip in ("203.0.113.77", "198.51.100.42", "192.0.2.151", "192.0.2.231")}
    assert {place.country for place in found.values()} == {"DE", "RO", "VN", "US"}
    assert all("made up" in str(place.as_name) for place in found.values())
    assert all(64496 <= int(place.asn or 0) <= 64511 for place in found.values()), "numbers of documentation"
    assert places.lookup("10.0.0.1").unasked == special("10.0.0.1")
    assert Places.of(Settings(data_dir=tmp_path)).lookup("203.0.113.77").unasked == "documentation"


async def test_the_demo_has_a_fleet_that_starts_nothing(tmp_path: Path) -> None:
    with demo_settings(Settings(data_dir=tmp_path)) as played:
        await make_fleet(played)
        await make_fleet(played)
    repo = await BaseRepository.open(played.db_url)
    rows = await repo.deckies()
    await repo.close()
    assert {row["name"] for row in rows} == {"web-01", "db-02", "edge-03"}, "those of the recording"
    assert {row["substrate"] for row in rows} == {"dry_run"}
