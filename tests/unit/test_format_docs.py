"""The page about formats is true: its example works and gives what it shows, its lists are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from decnet.sensors.formats import checking
from decnet.sensors.formats.emits import EMITS
from decnet.sensors.formats.selftest import faults_of
from decnet.sensors.formats.shelf import shipped
from decnet.sensors.formats.values import CONVERSIONS
from tests.programkit import cli
from tests.tablekit import made

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text("utf-8")
EXAMPLE = next(
    text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "format: smallftp" in text
)
LOG = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0]


def test_the_example_works() -> None:
    table = made(EXAMPLE)
    assert faults_of(table) == []
    assert table.sample == LOG


def test_the_example_gives_what_the_page_shows(tmp_path: Path) -> None:
    (tmp_path / "smallftp.yaml").write_text(EXAMPLE)
    (tmp_path / "smallftp.log").write_text(LOG)
    checked = cli("sensors", "try", tmp_path / "smallftp.yaml").stdout.decode()
    assert checked.replace(str(tmp_path), "/etc/decnet/formats") in PAGE
    said = cli("sensors", "try", tmp_path / "smallftp.log", "--formats", tmp_path).stdout.decode()
    shown = said.replace(str(tmp_path), "/var/log").splitlines()
    for line in shown:
        first, _, rest = line.partition("started_at=")
        last = "" if not rest else rest.partition("op_text=")[2]
        assert first.rstrip() in PAGE, line
        assert last in PAGE, line


def test_every_shipped_table_has_its_line() -> None:
    named = {
        name
        for cell in re.findall(r"^\| (`[a-z0-9_`, ]+) \|", PAGE, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", cell)
    }
    assert shipped().tables.keys() <= named


@pytest.mark.parametrize("key", checking._KEYS)
def test_every_key_of_a_table_is_described(key: str) -> None:
    assert re.search(rf"^\| .*`{key}`", PAGE, re.MULTILINE)


def test_every_emit_and_what_it_takes_is_described() -> None:
    for name, emit in EMITS.items():
        (line,) = [
            line for line in PAGE.splitlines() if line.startswith("| `") and f"`{name}`" in line.split("|")[1]
        ]
        for field in emit.fields:
            assert f"`{field}`" in line, (name, field)
    for word in CONVERSIONS:
        assert word in PAGE
