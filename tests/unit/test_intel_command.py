"""``intel lookup`` and ``intel sources``: every source with its answer and age, and what is stored beside it."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id
from decnet.intel import registry
from decnet.intel.answers import Said
from decnet_tui.cli.main import app
from tests.dbkit import migrated
from tests.mmdbkit import EPOCH, mmdb

IP = "185.220.101.4"
MTIME = 1_000_000_000


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with a file of each state."""
    monkeypatch.setattr(registry, "allocated_in", lambda ip: Said("DE", allocated=True) if ip == IP else None)
    monkeypatch.setattr(registry, "release", lambda: "9")
    files = {
        "geo.mmdb": mmdb({"185.220.101.0/24": {"asn": "AS60729", "as_name": "TOR\x1b[2J"}}),
        "tor.txt": f"{IP}\n".encode(),
        "bad.txt": b"x\n",
        "asn.tsv": b"1.0.0.0\t1.0.0.255\t5\tUS\tx\ny\n",
        "hosts.json": b'{"name": "Hosts", "type": "hostname", "list": ["a"]}',
        "README.md": b"x",
    }
    (tmp_path / "intel").mkdir()
    for name, body in files.items():
        (tmp_path / "intel" / name).write_bytes(body)
        os.utime(tmp_path / "intel" / name, (MTIME, MTIME))
    return tmp_path


def run(*arguments: str | Path, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.output


def looked_up(data: Path, ip: str = IP) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("intel", "lookup", ip, "--json", "--data-dir", data))
    return found


def store(data: Path) -> None:
    async def fill() -> None:
        repo = await BaseRepository.open(await migrated(data / "decnet.sqlite"))
        said = {
            "providers": ["greynoise"],
            "greynoise_classification": "malicious",
            "greynoise_name": "x\x1b[2J",
        }
        await repo.upsert_intel([(attacker_id(IP), 1000.0, said), (attacker_id("9.9.9.9"), 5.0, said)])
        await repo.close()

    asyncio.run(fill())


def test_every_source_stands_with_its_answer_age_and_verdict(data: Path) -> None:
    found = looked_up(data)
    assert {key: found[key] for key in ("country", "allocated", "country_source", "asn", "as_source", "lists")} == {
        "country": "DE", "allocated": True, "country_source": "iptocc 9", "asn": 60729, "as_source": "geo", "lists": ["tor"],
    }  # fmt: skip
    rows = {row["source"]: (row["kind"], row["state"], row["verdict"]) for row in found["sources"]}
    assert rows == {
        "asn": ("iptoasn", "ok", "no answer"), "bad": ("cidr", "failed", "failed"), "geo": ("mmdb", "ok", "place"),
        "hosts": ("warninglist", "unused", "unused"), "tor": ("cidr", "ok", "listed"), "iptocc 9": ("registry", "ok", "place"),
    }  # fmt: skip
    by_name = {row["source"]: row for row in found["sources"]}
    now = datetime.now(UTC).timestamp()
    assert by_name["geo"]["age_s"] == pytest.approx(max(0.0, now - EPOCH), abs=60)
    assert by_name["tor"]["age_s"] == pytest.approx(now - MTIME, abs=60)
    assert (by_name["geo"]["asn"], by_name["iptocc 9"]["country"], by_name["iptocc 9"]["age_s"]) == (
        60729,
        "DE",
        None,
    )
    assert by_name["bad"]["error"].endswith("bad.txt:1: no address: x (1 of 1 lines cannot be read)")
    assert (found["stored"], found["stored_error"]) == (None, None)


def test_the_page_says_where_each_part_is_from_and_shows_no_control_character(data: Path) -> None:
    store(data)
    page = run("intel", "lookup", IP, "--data-dir", data)
    assert "\x1b" not in page
    lines = page.splitlines()
    assert lines[:2] == [IP, "  country  allocated in DE  (iptocc 9, age not known)"]
    assert lines[2].startswith("  network  AS60729 TOR\\e[2J  (geo, ")
    assert lines[3] == "  lists    tor"
    assert lines[-3:-1] == ["services: nothing said", "stored:"]
    said = "  greynoise: classification malicious  name x\\e[2J  1970-01-01 00:16:40Z, "
    assert lines[-1].startswith(said)
    assert lines[-1].endswith("d ago")


def test_what_is_stored_of_the_address_is_told_by_provider_with_its_time(data: Path) -> None:
    store(data)
    (found,) = looked_up(data)["stored"]
    now = datetime.now(UTC).timestamp()
    assert found.pop("age_s") == pytest.approx(now - 1000, abs=60)
    assert [found] == [
        {
            "source": "greynoise",
            "at": "1970-01-01T00:16:40+00:00",
            "verdict": "classification malicious  name x\\e[2J",
            "said": {"greynoise_classification": "malicious", "greynoise_name": "x\x1b[2J"},
        }
    ]
    assert looked_up(data, "8.8.8.8")["stored"] == []
    assert run("intel", "lookup", "8.8.8.8", "--data-dir", data).endswith("\nstored: nothing\n")


def test_a_special_address_is_asked_of_nobody_and_says_why(data: Path) -> None:
    found = looked_up(data, "203.0.113.7")
    assert (found["unasked"], found["country"], found["lists"]) == ("documentation", None, [])
    assert {row["verdict"] for row in found["sources"]} == {"not asked", "failed", "unused"}
    assert "  not looked up: documentation address\n" in run(
        "intel", "lookup", "203.0.113.7", "--data-dir", data
    )


def test_own_networks_are_a_source_that_speaks_of_private_addresses_too(data: Path) -> None:
    config = data / "c.yaml"
    config.write_text("intel:\n  own_networks: [10.0.0.0/8]\n")
    options = ("--config", config, "--data-dir", data)
    for ip, verdict in (("10.1.1.1", "listed"), ("192.168.1.1", "not listed"), (IP, "not listed")):
        found = json.loads(run("intel", "lookup", ip, "--json", *options))
        assert {row["source"]: row["verdict"] for row in found["sources"]}["own"] == verdict, ip
        assert ("own" in found["lists"]) == (verdict == "listed")
    own = json.loads(run("intel", "sources", "--json", *options))[0]
    assert (own["name"], own["kind"], own["entries"], own["unit"]) == ("own", "setting", 1, "networks")


def test_a_database_that_cannot_be_read_costs_the_exit_code_and_not_the_answer(data: Path) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    said = run("intel", "lookup", IP, "--data-dir", data, "--db", nowhere, code=1)
    assert "  country  allocated in DE" in said
    assert "error: what is stored of it cannot be read: " in said


@pytest.mark.parametrize("text", ["host", "1.2.3", "10.0.0.0/8"])
def test_what_is_no_address_is_wrong_usage(data: Path, text: str) -> None:
    assert f"'{text}' is no address" in run("intel", "lookup", text, "--data-dir", data, code=2)


def test_sources_tell_kind_entries_age_and_every_fault_with_its_place(data: Path) -> None:
    rows = {
        row["name"] or "README": row
        for row in json.loads(run("intel", "sources", "--json", "--data-dir", data))
    }
    at = data / "intel"
    brief = {name: (r["kind"], r["state"], r["listing"], r["entries"], r["unit"]) for name, r in rows.items()}
    assert brief == {
        "asn": ("iptoasn", "ok", False, 1, "ranges"), "bad": ("cidr", "failed", None, None, None),
        "geo": ("mmdb", "ok", False, 120, "tree nodes"), "hosts": ("warninglist", "unused", None, None, None),
        "tor": ("cidr", "ok", True, 1, "ranges"), "README": (None, "not read", None, None, None),
        "iptocc 9": ("registry", "ok", False, None, None),
    }  # fmt: skip
    assert rows["asn"]["wrong"] == {"not the columns of iptoasn": 1}
    assert rows["asn"]["faults"] == [f"{at}/asn.tsv:2: not the columns of iptoasn: y"]
    assert rows["tor"]["dated"] == "2001-09-09T01:46:40+00:00"
    page = run("intel", "sources", "--data-dir", data)
    for line in (
        "asn: not the columns of iptoasn: 1",
        f"  {at}/asn.tsv:2: not the columns of iptoasn: y",
        f"failed: {at}/bad.txt:1: no address: x (1 of 1 lines cannot be read)",
        f"unused: {at}/hosts.json: entries of type hostname, which are no addresses: 1",
        f"not read: {at}/README.md: its name does not say what it is: name it in intel.files with its kind",
    ):
        assert line in page.splitlines()


def test_sources_can_be_cut_and_asked_for_new_data(data: Path) -> None:
    def names(*more: str) -> list[str | None]:
        return [r["name"] for r in json.loads(run("intel", "sources", "--json", "--data-dir", data, *more))]

    assert names("--limit", "2") == ["asn", "bad"]
    assert names("--limit", "0") == ["asn", "bad", "geo", "hosts", "tor", None, "iptocc 9"]
    assert names("--since", "2010-01-01") == ["geo"]
    assert run("intel", "sources", "--since", "2200-01-01", "--data-dir", data) == (
        "no source has data so young: ask without --since to see them all\n"
    )
