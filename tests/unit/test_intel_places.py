"""Where an address is: which file counts, what is never looked up, and that nothing of it opens a socket."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from decnet.config import Settings, load_settings
from decnet.errors import ConfigError
from decnet.intel import places as module
from decnet.intel.answers import Said
from decnet.intel.places import OWN, Origin, Place, Places
from tests.mmdbkit import EPOCH, mmdb

IP = "185.220.101.4"
NET = "185.220.101.0/24"
ALLOCATED = {"185.220.101.4": "DE", "2a00:1450::1": "IE"}


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of the registries that does not change with the package."""
    monkeypatch.setattr(
        module.registry,
        "allocated_in",
        lambda ip: Said(ALLOCATED[ip], allocated=True) if ip in ALLOCATED else None,
    )
    monkeypatch.setattr(module.registry, "release", lambda: "1")


def settings_of(tmp_path: Path, **intel: Any) -> Settings:
    (tmp_path / "intel").mkdir(exist_ok=True)
    return load_settings(data_dir=tmp_path, intel=intel or None)


def put(tmp_path: Path, name: str, data: bytes, mtime: float | None = None) -> Path:
    path = tmp_path / "intel" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    if mtime is not None:
        os.utime(path, (mtime, mtime))
    return path


def test_country_network_and_lists_each_say_where_they_are_from(tmp_path: Path) -> None:
    put(tmp_path, "country.mmdb", mmdb({NET: {"country": {"iso_code": "NL"}}}))
    put(tmp_path, "asn.tsv", b"185.220.101.0\t185.220.101.255\t60729\tDE\tTORSERVERS-NET\n", 1000.0)
    put(tmp_path, "tor.txt", f"{IP}\n".encode())
    put(tmp_path, "scanners.txt", b"1.2.3.4\n")
    put(tmp_path, "all.json", b'{"name": "All exits", "list": ["185.220.0.0/16"]}')
    found = Places.of(settings_of(tmp_path)).lookup(IP)
    assert found == Place(
        IP, None, "NL", Origin("country", "mmdb", float(EPOCH)), False, 60729, "TORSERVERS-NET",
        Origin("asn", "iptoasn", 1000.0), ("All exits", "tor"),
    )  # fmt: skip
    assert found.row(EPOCH + 60.0) == {
        "address": IP, "unasked": None, "country": "NL", "allocated": False, "country_source": "country", "country_age_s": 60.0,
        "asn": 60729, "as_name": "TORSERVERS-NET", "as_source": "asn", "as_age_s": EPOCH - 940.0, "lists": ["All exits", "tor"],
    }  # fmt: skip


def test_without_a_file_the_registrys_country_is_marked_as_such(tmp_path: Path) -> None:
    places = Places.of(settings_of(tmp_path))
    assert places.lookup(IP) == Place(IP, None, "DE", Origin("iptocc 1", "registry", None), True)
    assert places.lookup("2a00:1450::1").row(0)["allocated"] is True
    assert places.lookup("9.9.9.9") == Place("9.9.9.9"), "nobody knows: nothing is said"


def test_a_country_of_a_file_counts_more_than_where_it_is_registered(tmp_path: Path) -> None:
    put(tmp_path, "a.mmdb", mmdb({NET: {"registered_country": {"iso_code": "US"}, "asn": 5}}))
    found = Places.of(settings_of(tmp_path)).lookup(IP)
    assert (found.country, found.allocated, found.asn) == ("US", True, 5)
    put(tmp_path, "b.mmdb", mmdb({NET: {"country": "NL"}}, epoch=EPOCH - 9))
    found = Places.of(settings_of(tmp_path)).lookup(IP)
    assert (found.country, found.allocated, found.country_from, found.asn) == (
        "NL", False, Origin("b", "mmdb", EPOCH - 9.0), 5,
    )  # fmt: skip


def test_of_several_files_the_newest_data_count_unless_the_settings_give_an_order(tmp_path: Path) -> None:
    old = put(
        tmp_path, "old.mmdb", mmdb({NET: {"country": "FR", "asn": 1, "as_name": "old"}}, epoch=EPOCH - 99)
    )
    new = put(tmp_path, "new.mmdb", mmdb({NET: {"country": "NL"}}))
    found = Places.of(settings_of(tmp_path)).lookup(IP)
    assert (found.country, found.asn, found.as_name) == ("NL", 1, "old"), "name and number are of one file"
    found = Places.of(settings_of(tmp_path, files=[{"path": str(old)}, {"path": str(new)}])).lookup(IP)
    assert (found.country, found.country_from) == ("FR", Origin("old", "mmdb", EPOCH - 99.0))


def test_a_new_file_answers_without_a_restart_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    places = Places.of(settings_of(tmp_path))
    put(tmp_path, "geo.mmdb", mmdb({NET: {"country": "NL"}}))
    assert places.lookup(IP).country == "DE", "looking up reads no file"
    assert [source.name for source in places.refresh()] == ["geo"]
    assert places.lookup(IP).country == "NL"
    put(tmp_path, "geo.mmdb", b"half")
    places.refresh()
    assert (places.lookup(IP).country, places.library.refused) == ("NL", 1)
    put(tmp_path, "geo.mmdb", mmdb({NET: {"country": "FR"}}))
    places.refresh()
    assert places.lookup(IP).country == "FR"


SPECIAL = {
    "10.1.2.3": "private", "127.0.0.1": "loopback", "203.0.113.7": "documentation", "198.18.0.1": "benchmarking",
    "100.64.0.1": "shared by a carrier (CGNAT)", "224.0.0.1": "multicast", "fe80::1%eth0": "link-local", "::1": "loopback",
    "2001:db8::1": "documentation", "::ffff:10.0.0.1": "private",
}  # fmt: skip


@pytest.mark.parametrize(("ip", "why"), SPECIAL.items())
def test_an_address_that_is_nobodys_is_never_looked_up_and_says_why(
    tmp_path: Path, ip: str, why: str
) -> None:
    everything = {"0.0.0.0/1": {"country": "NL"}, "128.0.0.0/1": {"country": "NL"}, "::/1": {"country": "NL"}}
    put(tmp_path, "geo.mmdb", mmdb({"8000::/1": {"country": "NL"}, **everything}))
    put(tmp_path, "all.txt", b"10.0.0.0/8\n127.0.0.0/8\n203.0.113.0/24\nfe80::/10\n2001:db8::/32\n::/8\n")
    places = Places.of(settings_of(tmp_path))
    found = places.lookup(ip)
    assert found == Place(found.address, why)
    assert [asked.said for asked in places.ask_all(ip)] == [None] * 3


def test_own_networks_are_a_list_of_their_own_private_ones_too(tmp_path: Path) -> None:
    own = ("10.0.0.0/8", "185.220.101.9/255.255.255.0", "2a00:1450::/32", "9.9.9.9")
    put(tmp_path, "tor.txt", f"{IP}\n".encode())
    places = Places.of(settings_of(tmp_path, own_networks=own))
    assert places.lookup("10.1.2.3") == Place("10.1.2.3", "private", lists=(OWN,))
    assert places.lookup("192.168.0.1").lists == ()
    assert places.lookup(IP).lists == (OWN, "tor")
    assert [places.lookup(ip).lists for ip in ("2a00:1450::1", "9.9.9.9", "9.9.9.8", "185.220.102.1")] == [
        (OWN,),
        (OWN,),
        (),
        (),
    ]


@pytest.mark.parametrize("everything", ["0.0.0.0/0", "::/0"])
def test_all_of_a_family_may_be_ones_own_and_is_not_the_other_family(tmp_path: Path, everything: str) -> None:
    places = Places.of(settings_of(tmp_path, own_networks=[everything]))
    found = {ip: bool(places.lookup(ip).lists) for ip in ("9.9.9.9", "2a00::1")}
    assert found == {"9.9.9.9": everything == "0.0.0.0/0", "2a00::1": everything == "::/0"}


def test_an_own_network_that_is_none_is_an_error_of_the_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"intel.own_networks: '10.0.0.0/40' is no address and no network"):
        settings_of(tmp_path, own_networks=["10.0.0.0/40"])


def test_every_source_is_asked_and_says_nothing_where_it_knows_nothing(tmp_path: Path) -> None:
    put(tmp_path, "geo.mmdb", mmdb({NET: {"country": "NL"}}))
    put(tmp_path, "tor.txt", b"1.2.3.4\n")
    put(tmp_path, "broken.txt", b"x\n")
    places = Places.of(settings_of(tmp_path, own_networks=["10.0.0.0/8"]))
    found = [(a.origin.name, a.listing, a.said, a.source and a.source.state) for a in places.ask_all(IP)]
    assert found == [
        (OWN, True, None, None), ("broken", False, None, "failed"), ("geo", False, Said("NL"), "ok"),
        ("tor", True, None, "ok"), ("iptocc 1", False, Said("DE", allocated=True), None),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "host", "1.2.3", "1.2.3.4/24", "999.1.1.1"])
def test_text_that_is_no_address_is_refused(tmp_path: Path, text: str) -> None:
    places = Places.of(settings_of(tmp_path))
    for ask in (places.lookup, lambda ip: list(places.ask_all(ip))):
        with pytest.raises(ValueError, match="is no address"):
            ask(text)


def test_an_address_is_one_however_it_is_written(tmp_path: Path) -> None:
    put(tmp_path, "tor.txt", f"{IP}\n".encode())
    places = Places.of(settings_of(tmp_path))
    found = [places.lookup(text) for text in (f"::ffff:{IP}", f" {IP}:22 ", IP)]
    assert found == [found[2]] * 3
    assert found[0].lists == ("tor",)


WATCHED = (
    "socket.",
    "urllib.",
    "http.",
    "ftplib.",
    "smtplib.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
)


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """Names of what was opened since it was last cleared."""
    seen: list[str] = []
    watching = [True]

    def audit(event: str, _: Any) -> None:
        if watching and event.startswith(WATCHED):
            seen.append(event)

    sys.addaudithook(audit)  # it stays for good, and is deaf after the test
    yield seen
    watching.clear()


def test_nothing_of_it_opens_a_socket_asks_a_name_server_or_starts_a_program(
    tmp_path: Path, opened: list[str]
) -> None:
    put(tmp_path, "geo.mmdb", mmdb({NET: {"country": "NL"}, "2a00::/16": {"country": "US"}}))
    put(tmp_path, "asn.tsv", b"185.220.101.0\t185.220.101.255\t60729\tDE\tTORSERVERS-NET\n")
    put(tmp_path, "hosts.txt", b"example.org\nlocalhost\n1.1.1.1\n1.2.3.4\n")
    put(tmp_path, "a.csv", b"url,ip\nhttp://example.org/x,1.2.3.4\n")
    put(tmp_path, "list.json", b'{"type": "hostname", "list": ["example.org"]}')
    opened.clear()
    places = Places.of(settings_of(tmp_path, own_networks=["10.0.0.0/8"]))
    for ip in (IP, "2a00::1", "9.9.9.9", *SPECIAL):
        places.lookup(ip)
        list(places.ask_all(ip))
    places.refresh()
    assert opened == []
    socket.socket().close()
    assert opened == ["socket.__new__"], "the guard sees what it is for"
