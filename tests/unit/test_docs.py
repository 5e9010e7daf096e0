"""Generated pages are those of the code, and say of everything what it is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

from decnet.config import Settings
from decnet.events.topics import RECORDS
from tests.docs import house
from tests.docs.make import pages

ROOT = Path(__file__).parents[2]
PAGES = pages()


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_generated_page_is_fresh(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == PAGES[name], "run: make docs"


def test_every_event_and_every_setting_has_its_words() -> None:
    for pattern in RECORDS:
        assert f"## {pattern}\n" in PAGES["docs/events.md"]
    rows = re.findall(r"(?m)^\| `([\w.]+)` \| (.*?) \| (.*?) \| (.*?) \|$", PAGES["docs/settings.md"])
    assert [name for name, kind, _, what in rows if not kind.strip() or not what.strip()] == []
    assert {name for name, *_ in rows} >= {
        "data_dir",
        "bus.replicas",
        "sensor.idle_session_s",
        "decoys.mail.enabled",
    }
    for here in (str(ROOT), str(Settings().data_dir), str(Settings().rules)):
        assert here not in PAGES["docs/settings.md"], "a page is the same wherever it is made"


def test_every_room_stands_on_the_floor_that_the_contract_gives_it_and_no_import_points_up() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers")
    floor = {room: number for number, rooms in enumerate(house.floors()) for room in rooms}
    assert len(house.floors()) == len(layers)
    assert {room for room in house.modules() if room not in floor} <= {"decnet", "decnet_tui"}
    assert [
        edge
        for edge in house.edges()
        if edge[0] in floor and edge[1] in floor and floor[edge[1]] > floor[edge[0]]
    ] == []


def test_the_picture_is_a_drawing_of_every_room() -> None:
    drawn = ElementTree.fromstring(house.picture())
    texts = [node.text for node in drawn.iter("{http://www.w3.org/2000/svg}text")]
    rooms = [room for rooms in house.floors() for room in rooms]
    assert len(texts) == 2 * len(rooms)
    assert {"ttp", "sensors", "engine", "screens"} <= set(texts)
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}path"))) > 100
    assert not list(drawn.iter("{http://www.w3.org/2000/svg}script"))
