"""The fleet file: strict, all errors at once, each with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.errors import ConfigError, FleetError
from decnet.mutator.fleet import Defaults, load_fleet, parse_fleet
from decnet.services import load_catalogue

CATALOGUE = load_catalogue()
GOOD = """\
fleet: lab
substrate: opencanary
mutate_interval: 30m
deckies:
  - name: web-01
    archetype: web-server
    services: [http, ftp]
    pinned: [http]
    mutate_interval: 12h
    address: 127.0.0.1
    ports: {http: 18080, ftp: 12121, ssh: 12022}
  - name: db-01
    pool: [redis, mysql, ssh]
"""


def faults(text: str) -> list[str]:
    with pytest.raises(FleetError) as caught:
        parse_fleet(text, "f.yaml", CATALOGUE)
    return str(caught.value).splitlines()


def test_a_good_file() -> None:
    fleet = parse_fleet(GOOD, "f.yaml", CATALOGUE)
    web, db = fleet.deckies
    assert (fleet.name, fleet.substrate, fleet.mutate_interval) == ("lab", "opencanary", "30m")
    assert (web.services, web.pinned, web.mutate_interval) == (("http", "ftp"), ("http",), "12h")
    assert "wordpress" not in web.pool, "OpenCanary cannot play it"
    assert (db.address, db.mutate_interval, db.services) == ("127.0.0.1", "", ())


def test_all_faults_are_told_at_once_with_their_places() -> None:
    text = """\
fleet: Lab
substrate: docker
mutate_interval: 30
colour: red
deckies:
  - name: web 01
    archetype: web-server
    pool: [http]
  - name: db-01
    archetype: database
    services: [mysqll]
    ports: {mysql: 0}
    address: here
  - name: db-01
    pool: [ssh, ssh]
    mutate_interval: 1y
  - 5
"""
    found = faults(text)
    for place, words in [
        ("1:1", "fleet needs a name"), ("2:1", "unknown substrate 'docker'"), ("3:1", "no interval"), ("4:1", "unknown key 'colour'"),
        ("6:5", "decky needs a name"), ("6:5", "either an archetype or a pool"), ("10:5", "unknown archetype 'database'"),
        ("11:16", "unknown service 'mysqll'"), ("12:13", "number from 1 to 65535"), ("13:5", "no IP address"),
        ("14:5", "duplicate decky 'db-01'"), ("15:5", "named twice"), ("16:5", "no interval"), ("17:5", "a decky is a mapping"),
    ]:  # fmt: skip
        assert any(line.startswith(f"f.yaml:{place}: ") and words in line for line in found), (
            place,
            words,
            found,
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("services: [http, ftp]", "services: [ftp]"), "pinned 'http' is missing"),
        (("services: [http, ftp]", "services: [http, rdp]"), "'rdp' is not in the pool"),
        (("ssh: 12022", "ssh: 12121}\n    networks: [x]\n    #"), "unknown network 'x'"),
        (("pool: [redis, mysql, ssh]", "pool: [http]\n    services: [http]\n    ports: {http: 18080}"), "which 'web-01' has"),
        (("pool: [redis, mysql, ssh]", "pool: [smb]"), "opencanary cannot play 'smb'"),
        (("fleet: lab", "fleet: &x lab"), "anchor"),
        (("fleet: lab", "fleet: lab\nfleet: lab"), "duplicate key"),
        (("fleet: lab", "fleet: lab\u0007"), "not YAML"),
    ],
)  # fmt: skip
def test_faults(change: tuple[str, str], words: str) -> None:
    assert any(words in line for line in faults(GOOD.replace(*change)))


def test_services_that_fight_for_a_port_are_refused() -> None:
    text = "fleet: f\nsubstrate: compose\ndeckies:\n  - {name: a, pool: [http, wordpress], services: [http, wordpress]}\n"
    assert any("want the same port" in line for line in faults(text))


def test_too_many_and_empty() -> None:
    with pytest.raises(FleetError, match="more than 1 deckies"):
        parse_fleet(GOOD, "f.yaml", CATALOGUE, Defaults(max_deckies=1))
    assert parse_fleet("fleet: f\ndeckies: []\n", "f.yaml", CATALOGUE).deckies == ()
    assert any("must be a list" in line for line in faults("fleet: f\n"))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="cannot be read"):
        load_fleet(tmp_path / "none.yaml", CATALOGUE)
    bad = tmp_path / "bad.yaml"
    bad.write_bytes(b"fleet: x\nname: \xff\n")
    with pytest.raises(FleetError, match=r"bad\.yaml:2:1: not UTF-8"):
        load_fleet(bad, CATALOGUE)
    bad.write_bytes(b"#" * (1 << 20) + b"##")
    with pytest.raises(FleetError, match="over 1 MiB"):
        load_fleet(bad, CATALOGUE)


@given(st.text(max_size=200) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
def test_no_text_breaks_it(text: str) -> None:
    for whole in (
        text,
        GOOD + text,
        f"fleet: f\ndeckies: [{text}]",
        f"fleet: f\ndeckies:\n - {{name: {text}}}\n",
    ):
        said = "f.yaml:"
        try:
            parse_fleet(whole, "f.yaml", CATALOGUE)
        except FleetError as error:
            said = str(error)
        assert said.startswith("f.yaml:")


def test_a_catalogue_of_ones_own_is_laid_over(tmp_path: Path) -> None:
    extra = tmp_path / "own.yaml"
    extra.write_text(
        "services:\n  gopher: {port: 70, image: {name: 'own/gopher:1', port: 7070}}\narchetypes:\n  old: [gopher, ftp]\n"
    )
    found = load_catalogue(extra)
    assert found.services["gopher"].image is not None
    assert found.playable(found.archetypes["old"], "opencanary") == ["ftp"]
    worse = tmp_path / "worse.yaml"
    worse.write_text(
        "services:\n  gopher: {port: 99999, colour: red}\narchetypes:\n  old: [gofer]\nmore: 1\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_catalogue(worse)
    for place, words in [
        ("2:12", "1 to 65535"),
        ("2:25", "unknown key"),
        ("4:9", "unknown service"),
        ("5:1", "unknown key"),
    ]:
        assert any(
            f"worse.yaml:{place}: " in line and words in line for line in str(caught.value).splitlines()
        ), place
