"""Files of junk, of a million entries and of everything at once: bounded in memory and time, and no look-up suffers."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mmdbkit import mmdb
from tests.programkit import cli, surroundings

pytestmark = pytest.mark.slow
MEGA = 1_000_000
IP = "185.220.101.4"
_LOOK = (
    "import re, sys, json\nfrom pathlib import Path\nfrom decnet.config import load_settings\n"
    "from decnet.intel.places import Places\n"
    "def memory(what): return int(re.search(what + r':\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
    "before = memory('VmRSS')\n"
    "places = Places.of(load_settings(data_dir=Path(sys.argv[1])))\n"
    f"place = places.lookup('{IP}')\n"
    "grown = memory('VmHWM') - before\n"
    "states = {s.path.name: [s.state, s.error, s.content and s.content.entries] for s in places.library.sources}\n"
    "print(json.dumps([grown, place.row(0), states]))\n"
)
"""Reads a data directory in a process of its own, and tells the memory that took, in KiB."""


def looked(data: Path) -> tuple[float, dict[str, object], dict[str, tuple[str, str, int | None]]]:
    """Grown memory in MB, the place of the address, and the state of each file."""
    done = subprocess.run([sys.executable, "-c", _LOOK, str(data)], capture_output=True, text=True, timeout=100, check=False, env=surroundings())  # fmt: skip
    assert done.returncode == 0, done.stderr
    grown, place, states = json.loads(done.stdout)
    return grown / 1024, place, states


def folder(data: Path) -> Path:
    made = data / "intel"
    made.mkdir()
    (made / "geo.mmdb").write_bytes(mmdb({"185.220.101.0/24": {"country": "NL", "asn": 60729}}))
    (made / "tor.txt").write_text(f"{IP}\n")
    return made


def test_a_hundred_megabytes_of_junk_cost_little_and_are_named(tmp_path: Path) -> None:
    here = folder(tmp_path)
    junk = {
        "lines.txt": b"junk\n" * (20 * MEGA),
        "blank.txt": b"\n" * (100 * MEGA),
        "long.csv": b"x" * (100 * MEGA),
        "nul.tsv": bytes(100 * MEGA),
        "noise.mmdb": os.urandom(MEGA) * 100,
        "noise.json": b'{"list": [' + b'"x",' * (12 * MEGA) + b'"x"]}',
        "deep.json": b'{"list": ' + b"[" * (50 * MEGA),
        "bomb.txt.gz": gzip.compress(bytes(200 * MEGA), 1),
    }
    for name, body in junk.items():
        (here / name).write_bytes(body)
    grown, place, states = looked(tmp_path)
    assert {name: state[0] for name, state in states.items()} == {
        **dict.fromkeys(junk, "failed"), "noise.json": "unused", "geo.mmdb": "ok", "tor.txt": "ok",
    }  # fmt: skip
    assert all(f"{here}/{name}" in states[name][1] for name in junk), "each fault says which file it is in"
    assert (place["country"], place["asn"], place["lists"]) == ("NL", 60729, ["tor"])
    assert grown < 300, "MB; 100 MB of JSON are twice in memory while they are read"


def test_a_million_entries_are_read_and_more_than_the_bound_are_refused(tmp_path: Path) -> None:
    here = folder(tmp_path)
    first = int.from_bytes(bytes((11, 0, 0, 0)), "big")
    lines = [b"%d.%d.%d.%d" % tuple((first + n * 7 % (9 * MEGA)).to_bytes(4, "big")) for n in range(MEGA)]
    (here / "many.txt").write_bytes(b"\n".join(lines) + b"\n")
    (here / "more.txt").write_bytes((b"\n".join(lines) + b"\n") * 2)
    grown, place, states = looked(tmp_path)
    assert states["many.txt"] == ["ok", "", MEGA]
    assert states["more.txt"][0] == "failed"
    assert states["more.txt"][1].endswith("ranges (intel.max_entries)")
    assert place["lists"] == ["tor"]
    assert grown < 250


def test_the_command_answers_from_a_folder_by_itself(tmp_path: Path) -> None:
    folder(tmp_path)
    done = cli("intel", "lookup", IP, "--json", "--data-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["country"], found["country_source"], found["asn"], found["lists"]) == (
        "NL",
        "geo",
        60729,
        ["tor"],
    )
    assert found["allocated"] is False
    assert [row["verdict"] for row in found["sources"]][:2] == ["place", "listed"]
