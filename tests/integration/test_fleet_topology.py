"""``fleet topology``: every operation has an entry, is checked at once, and is followed to its end."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decnet.bus.base import Event
from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.mutator.topology import OPS
from decnet_tui.actions.topology import TopologyOp
from decnet_tui.cli.main import app
from decnet_tui.model.feed import Feed
from decnet_tui.model.journal import End
from decnet_tui.screens import fleet as fleet_screen
from decnet_tui.screens.fleet import FleetView
from tests.dbkit import migrated
from tests.programkit import cli, daemon

FLEET = """\
fleet: lab
substrate: dry_run
mutate_interval: never
deckies:
  - {name: web-01, pool: [http, ftp, ssh], services: [http]}
"""


def run(data: Path, *words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["fleet", *words, "--data-dir", str(data)])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def data(tmp_path: Path) -> Path:
    place = tmp_path / "data"
    place.mkdir(mode=0o700)
    asyncio.run(migrated(place / "decnet.sqlite"))
    (tmp_path / "fleet.yaml").write_text(FLEET)
    assert run(place, "apply", str(tmp_path / "fleet.yaml"))[0] == 0
    return place


def stored(data: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    async def read() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        repo = await BaseRepository.open(Settings(data_dir=data).db_url)
        try:
            return await repo.mutations(kinds=OPS), await repo.journal()
        finally:
            await repo.close()

    return asyncio.run(read())


def test_an_operation_is_enqueued_journalled_and_listed(data: Path) -> None:
    code, out, err = run(data, "topology", "add_network", "dmz", "--reason", "for the guests")
    assert (code, err) == (0, "")
    assert out.startswith("fleet lab: add_network dmz: enqueued (")
    assert "no engine runs here, it is done when one does" in out
    code, out, _ = run(data, "topology", "add_decky", "db-01", "pool=redis,mysql", "networks=dmz", "--json")
    row = json.loads(out)
    assert (code, row["state"], row["op"], row["fleet"]) == (0, "enqueued", "add_decky", "lab")
    assert row["payload"] == {"name": "db-01", "pool": ["redis", "mysql"], "networks": ["dmz"]}
    changes, journal = stored(data)
    assert [(c["kind"], c["target"], c["reason"]) for c in changes] == [
        ("add_decky", "db-01", ""),
        ("add_network", "dmz", "for the guests"),
    ]
    ops = [entry for entry in journal if entry["kind"] == "topology.op"]
    assert [(e["target"], e["what"]) for e in ops] == [
        ("lab/db-01", "fleet lab: add_decky db-01"),
        ("lab/dmz", "fleet lab: add_network dmz"),
    ]
    assert all(entry["outcome"].startswith("saved") for entry in ops)
    for bare in ((), ("list",)):
        _, out, _ = run(data, "topology", *bare)
        assert "add_network" in out
        assert "networks: none" in out, "nothing is done before an engine does it"
    _, out, _ = run(data, "topology", "list", "--json")
    assert [line["op"] for line in json.loads(out)] == ["add_decky", "add_network"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("explode", "web-01"), "unknown operation 'explode'; known: add_decky, remove_decky"),
        (("add_decky", "web-01", "pool=ssh,http"), "there is a decky 'web-01' already"),
        (("remove_decky", "nobody"), "no decky 'nobody' in this fleet"),
        (("attach_decky", "web-01", "network=dmz"), "unknown network 'dmz'"),
        (("attach_decky", "web-01"), "network: Field required"),
        (("update_decky", "web-01", "mutate_interval=often"), "often"),
        (("add_network", "DMZ!"), "a network needs a name"),
        (("add_network", "dmz", "--fleet", "nowhere"), "no fleet 'nowhere'"),
        (("update_decky", "web-01", "services=http,http"), "a service is named twice"),
    ],
)
def test_what_is_wrong_is_said_at_once_and_nothing_is_enqueued(
    data: Path, words: tuple[str, ...], says: str
) -> None:
    code, out, err = run(data, "topology", *words)
    assert (code, out) == (1, "")
    assert says in err
    changes, journal = stored(data)
    assert changes == []
    assert [e["outcome"] for e in journal if e["kind"] == "topology.op"] == [End.REFUTED.value]


def test_a_second_writer_is_judged_on_what_the_first_will_have_made(data: Path) -> None:
    assert run(data, "topology", "remove_decky", "web-01")[0] == 0
    code, _, err = run(data, "topology", "update_decky", "web-01", "mutate_interval=1h")
    assert (code, "no decky 'web-01' in this fleet" in err) == (1, True)


def test_a_fleet_that_is_taken_down_takes_no_operation(data: Path, tmp_path: Path) -> None:
    (tmp_path / "none.yaml").write_text("fleet: lab\ndeckies: []\n")
    assert run(data, "apply", str(tmp_path / "none.yaml"))[0] == 0
    code, _, err = run(data, "topology", "add_network", "dmz")
    assert (code, "the fleet is being taken down" in err) == (1, True)


@pytest.mark.parametrize("words", [("novalue",), ("=x",), ("a=1", "a=2"), ("a={",)])
def test_a_value_that_is_none_is_wrong_usage(data: Path, words: tuple[str, ...]) -> None:
    assert run(data, "topology", "add_decky", "x", *words)[0] == 2


def test_several_fleets_have_to_be_told_apart(data: Path, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(FLEET.replace("lab", "two").replace("web-01", "web-02"))
    assert run(data, "apply", str(tmp_path / "two.yaml"))[0] == 0
    code, _, err = run(data, "topology", "add_network", "dmz")
    assert (code, "name the fleet with --fleet; there are lab, two" in err) == (1, True)
    assert run(data, "topology", "add_network", "dmz", "--fleet", "two")[0] == 0
    code, _, err = run(data, "topology", "add_network", "more", "--fleet", "two", "--wait")
    assert (code, "no engine runs here" in err) == (1, True)


def told(state: str, **more: Any) -> Event:
    return Event(f"topology.lab.mutation.{state}", {"mutation_id": "m", "op": "add_network", **more})


@pytest.mark.parametrize(
    ("events", "end", "detail"),
    [
        ([told("applying"), told("applied")], End.VERIFIED, ""),
        ([told("failed", reason="no\x1b[2J room")], End.REFUTED, "no\\e[2J room"),
        ([told("enqueued"), told("applying")], None, ""),
        ([Event("topology.lab.mutation.applied", {"mutation_id": "other", "op": "x"})], None, ""),
    ],
)
def test_the_news_of_an_operation_are_its_end(events: list[Event], end: End | None, detail: str) -> None:
    feed = Feed()
    for event in events:
        feed.add(event)
    change = TopologyOp("lab", "add_network", "dmz", {}, None, 1.0)  # type: ignore[arg-type]
    change.stored = "m"
    outcome = change.reported(feed, 0.0)
    assert (outcome and outcome.end) == end
    assert outcome is None or outcome.detail == detail
    assert change.silence().end is End.UNKNOWN


def test_the_console_knows_the_operations_of_the_queue() -> None:
    assert frozenset(OPS) == fleet_screen.OPS


async def test_the_fleet_view_shows_what_became_of_an_operation(data: Path) -> None:
    repo = await BaseRepository.open(Settings(data_dir=data).db_url)
    row = {
        "mutation_id": "m",
        "kind": "add_network",
        "topology_id": "lab",
        "target": "dmz",
        "payload": {},
        "state": "failed",
    }
    await repo.mutation_add({**row, "reason": "no room", "requested_by": "eve@here"})
    view = FleetView(Feed())

    class Session:
        pass

    session: Any = Session()
    session.repo = repo
    view.load(await view.fetch(session))
    detail = view.row_detail(view.rows[0])
    at = detail.index("fleet lab, changes newest first:")
    assert detail[at + 1].endswith("add_network dmz failed by eve@here: no room")
    await repo.close()


def test_a_sensor_whose_name_looks_like_a_deckys_is_shown_as_its_log_wrote_it(data: Path) -> None:
    async def claim() -> str:
        repo = await BaseRepository.open(Settings(data_dir=data).db_url)
        token = await repo.name_claim("web.01\x1b[2J")
        await repo.name_claim("web-01")
        await repo.close()
        return token

    assert asyncio.run(claim()) == "web-01-2J"

    async def collide() -> str:
        repo = await BaseRepository.open(Settings(data_dir=data).db_url)
        token = await repo.name_claim("web\x1b01")
        await repo.close()
        return token

    token = asyncio.run(collide())
    _, out, _ = run(data, "list")
    assert f"the sensor web\\e01 is none of these: its name here is {token}" in out
    assert "2J" not in out


def test_what_docker_says_of_a_decky_is_printed_as_text(data: Path) -> None:
    raw = "pull failed: \x1b[2J\x07\u202e"

    async def write() -> None:
        repo = await BaseRepository.open(Settings(data_dir=data).db_url)
        await repo.decky_update("web-01", None, reason=raw)
        await repo.topology_update("lab", reason=raw)
        row = {
            "mutation_id": "m",
            "kind": "add_network",
            "topology_id": "lab",
            "target": "d",
            "state": "failed",
            "payload": {},
        }
        await repo.mutation_add({**row, "reason": raw})
        await repo.close()

    asyncio.run(write())
    for words in (("list",), ("topology",), ("list", "--json"), ("topology", "--json")):
        _, out, _ = run(data, *words)
        assert "pull failed" in out or words == ("list", "--json")
        assert not {"\x1b", "\x07", "\u202e"} & set(out)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_with_an_engine_the_command_waits_for_the_end(data: Path, tmp_path: Path) -> None:
    with daemon(data, tmp_path / "engine.log", "--workers", "mutator"):
        done = cli("fleet", "topology", "add_network", "dmz", "--wait", "--data-dir", data)
        assert (done.returncode, done.stdout.decode()) == (0, "fleet lab: add_network dmz: applied\n"), (
            done.stderr
        )
        words = ("add_decky", "db-01", "pool=redis,mysql", "services=redis", "networks=dmz")
        done = cli("fleet", "topology", *words, "--wait", "--json", "--data-dir", data)
        assert (done.returncode, json.loads(done.stdout)["state"]) == (0, "applied"), done.stderr
        rows = {
            row["name"]: row for row in json.loads(cli("fleet", "list", "--json", "--data-dir", data).stdout)
        }
        assert (rows["db-01"]["observed"], rows["db-01"]["substrate"]) == (["redis"], "dry_run"), (
            "as its fleet"
        )
        done = cli("fleet", "topology", "remove_network", "dmz", "--wait", "--data-dir", data)
        assert (done.returncode, b"still attached to 'dmz': db-01" in done.stderr) == (1, True)
    _, journal = stored(data)
    ops = [(e["what"], e["outcome"]) for e in journal if e["kind"] == "topology.op"]
    assert ops == [
        ("fleet lab: remove_network dmz", "NOT APPLIED"),
        ("fleet lab: add_decky db-01", "verified"),
        ("fleet lab: add_network dmz", "verified"),
    ]
