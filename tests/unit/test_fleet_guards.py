"""The fleet file and the catalogue at their limits: sizes, names, ports, addresses, who wants whose port."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from decnet import services
from decnet.errors import ConfigError, FleetError
from decnet.mutator import fleet
from decnet.mutator.fleet import DeckySpec, Defaults, FleetSpec, check_decky, load_fleet, parse_fleet
from decnet.services import Catalogue, Service, load_catalogue

CATALOGUE = load_catalogue()


def parsed(text: str, **defaults: Any) -> FleetSpec:
    return parse_fleet(text, "f", CATALOGUE, Defaults(**defaults))


def faults(text: str, **defaults: Any) -> list[str]:
    with pytest.raises(FleetError) as caught:
        parsed(text, **defaults)
    return str(caught.value).splitlines()


def one(body: str, substrate: str = "dry_run") -> str:
    return f"fleet: lab\nsubstrate: {substrate}\ndeckies:\n  - {body}\n"


def spec(body: str, substrate: str = "dry_run") -> DeckySpec:
    return parsed(one(body, substrate)).deckies[0]


def test_a_decoy_listens_on_loopback_unless_it_is_told_otherwise() -> None:
    assert spec("{name: a, pool: [ftp]}").address == "127.0.0.1"
    assert spec("{name: a, pool: [ftp], address: 0.0.0.0}").address == "0.0.0.0"
    assert DeckySpec("a", "dry_run", ("ftp",)).address == "127.0.0.1"
    for wrong in ("localhost", "127.0.0.1:80", "''", "5", "1.2.3", "$(id)", "--x", "'127.0.0.1\n'"):
        assert any(
            "is no IP address" in line for line in faults(one(f"{{name: a, pool: [ftp], address: {wrong}}}"))
        ), wrong


@pytest.mark.parametrize("address", ["fe80::1%eth0:80", "'::1%$(id)'", "'fe80::1%a b'", "fe80::1%lo"])
def test_an_address_names_no_interface(address: str) -> None:
    assert any(
        "is no IP address" in line for line in faults(one(f"{{name: a, pool: [ftp], address: {address}}}"))
    )


@pytest.mark.parametrize(("port", "good"), [("1", True), ("65535", True), ("0", False), ("65536", False), ("-1", False), ("true", False), ("80.0", False), ("'80'", False), ("null", False)])  # fmt: skip
def test_a_port_is_a_number_from_1_to_65535(port: str, good: bool, tmp_path: Path) -> None:
    text = one(f"{{name: a, pool: [ftp], ports: {{ftp: {port}}}}}")
    if good:
        assert parsed(text).deckies[0].ports == {"ftp": int(port)}
    else:
        assert faults(text) == ["f:4:36: a port is a number from 1 to 65535"]
    own = tmp_path / "own.yaml"
    own.write_text(f"services:\n  x: {{port: {port}}}\n")
    if good:
        assert load_catalogue(own).services["x"].port == int(port)
    else:
        with pytest.raises(ConfigError, match=r"own\.yaml:2:7: port must be a number from 1 to 65535"):
            load_catalogue(own)


BAD_NAMES = [
    "-a",
    "A",
    "a.b",
    "../a",
    "a/b",
    "a b",
    "a" * 64,
    "a_b",
    "'*'",
    "'a\\n'",
    "ä",
    "5",
    "''",
    "--privileged",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_are_tokens_and_never_paths_or_options(name: str, tmp_path: Path) -> None:
    quoted = f'"{name[1:-1]}"' if name.startswith("'") else name
    assert any("a decky needs a name" in line for line in faults(one(f"{{name: {quoted}, pool: [ftp]}}")))
    assert any("a fleet needs a name" in line for line in faults(f"fleet: {quoted}\ndeckies: []\n"))
    text = f"fleet: lab\nnetworks: [{quoted}]\ndeckies: []\n"
    assert any("a network needs a name" in line for line in faults(text))
    if name != "5":
        own = tmp_path / "own.yaml"
        own.write_text(f"services:\n  {quoted}: {{port: 1}}\n")
        with pytest.raises(ConfigError, match="is no service name"):
            load_catalogue(own)


def test_the_longest_name_is_taken() -> None:
    for name in ("a" * 63, "0", "a-b", "a--b"):
        assert spec(f"{{name: '{name}', pool: [ftp]}}").name == name


def test_a_service_holds_no_double_hyphen_which_parts_it_from_its_decky(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("services:\n  a-b: {port: 1}\n  a--b: {port: 1}\n")
    with pytest.raises(ConfigError) as caught:
        load_catalogue(own)
    assert str(caught.value) == f"{own}:3:3: 'a--b' is no service name: a-z, 0-9 and single '-', at most 63"


def test_as_many_deckies_as_allowed_and_not_one_more() -> None:
    two = "fleet: f\ndeckies: [{name: a, pool: [ftp]}, {name: b, pool: [ftp]}]\n"
    assert len(parsed(two, max_deckies=2).deckies) == 2
    assert faults(two, max_deckies=1) == ["f:2:1: more than 1 deckies"]


def test_a_file_of_the_greatest_size_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    text = "fleet: f\ndeckies: []\n"
    file = tmp_path / "f.yaml"
    file.write_text(text + "#" * ((1 << 20) - len(text)))
    assert load_fleet(file, CATALOGUE).name == "f"
    file.write_text(text + "#" * ((1 << 20) - len(text) + 1))
    with pytest.raises(FleetError, match=r"f\.yaml:1:1: the file is over 1 MiB"):
        load_fleet(file, CATALOGUE)
    assert fleet.MAX_FILE_BYTES == services.MAX_FILE_BYTES == 1 << 20
    own = tmp_path / "own.yaml"
    base = "services: {x: {port: 1}}\n"
    own.write_text(base + "#" * ((1 << 20) - len(base)))
    assert "x" in load_catalogue(own).services
    more = tmp_path / "more.yaml"
    more.write_text(base + "#" * ((1 << 20) - len(base) + 1))
    with pytest.raises(ConfigError, match=r"more\.yaml: over 1 MiB"):
        load_catalogue(more)


def test_what_holds_for_a_file_that_says_nothing() -> None:
    found = parse_fleet("fleet: f\ndeckies: []\n", "f", CATALOGUE)
    assert (found.substrate, found.mutate_interval, Defaults().max_deckies) == ("opencanary", "never", 1000)
    found = parsed("fleet: f\ndeckies: [{name: a, pool: [ftp]}]\n", substrate="dry_run", mutate_interval="1h")
    assert (found.substrate, found.mutate_interval) == ("dry_run", "1h")
    assert (found.deckies[0].substrate, found.deckies[0].mutate_interval) == ("dry_run", ""), "it inherits"
    text = "fleet: f\nsubstrate: dry_run\ndeckies: [{name: a, pool: [ftp], substrate: compose, mutate_interval: inherit}]\n"
    found = parsed(text)
    assert (found.deckies[0].substrate, found.deckies[0].mutate_interval) == ("compose", "")


def test_faults_come_once_each_in_the_order_of_the_file() -> None:
    text = (
        "fleet: f\ndeckies:\n  - {name: B, pool: [x, x], colour: 1}\n  - {name: A, pool: [y]}\ncolour: red\n"
    )
    places = [line.split(": ")[0] for line in faults(text)]
    assert places == sorted(places, key=lambda place: [int(part) for part in place.split(":")[1:]])
    assert len(places) == len(set(faults(text)))
    assert places[-1] == "f:5:1"


def test_a_decky_has_an_archetype_or_a_pool_and_one_that_its_substrate_can_play() -> None:
    assert any("either an archetype or a pool" in line for line in faults(one("{name: a}")))
    assert any(
        "either an archetype or a pool" in line
        for line in faults(one("{name: a, pool: [ftp], archetype: printer}"))
    )
    assert any("the pool is empty" in line for line in faults(one("{name: a, pool: []}")))
    assert any("unknown archetype" in line for line in faults(one("{name: a, archetype: 5}")))
    assert "opencanary cannot play 'smb'" in faults(one("{name: a, pool: [ftp, smb]}", "opencanary"))[0]
    assert spec("{name: a, pool: [ftp, smb]}", "compose").pool == ("ftp", "smb")
    assert "compose cannot play 'git'" in faults(one("{name: a, pool: [git]}", "compose"))[0]
    assert "wordpress" not in spec("{name: a, archetype: web-server}", "opencanary").pool
    assert spec("{name: a, archetype: web-server}", "opencanary").archetype == "web-server"


def test_lists_are_lists_and_name_nothing_twice() -> None:
    for key in ("pool", "services", "pinned"):
        text = one(f"{{name: a, {'pool: [ftp], ' if key != 'pool' else ''}{key}: ftp}}")
        assert any("must be a list of services" in line for line in faults(text)), key
        text = one(f"{{name: a, {'pool: [ftp], ' if key != 'pool' else ''}{key}: [ftp, ftp]}}")
        assert any("a service is named twice" in line for line in faults(text)), key
    assert any(
        "must be a list of networks" in line for line in faults("fleet: f\nnetworks: x\ndeckies: []\n")
    )
    assert any(
        "network is named twice" in line for line in faults("fleet: f\nnetworks: [x, x]\ndeckies: []\n")
    )
    assert any("'deckies' must be a list" in line for line in faults("fleet: f\ndeckies: {}\n"))
    assert any("ports are a mapping" in line for line in faults(one("{name: a, pool: [ftp], ports: [1]}")))
    assert any("unknown service 'x'" in line for line in faults(one("{name: a, pool: [ftp], ports: {x: 1}}")))
    assert any("a fleet is a mapping" in line for line in faults("[]\n"))
    assert any("unknown key 'colour'" in line for line in faults(one("{name: a, pool: [ftp], colour: 1}")))


def test_networks_are_those_of_the_fleet() -> None:
    text = (
        "fleet: f\nsubstrate: dry_run\nnetworks: [dmz]\ndeckies: [{name: a, pool: [ftp], networks: [dmz]}]\n"
    )
    assert parsed(text).deckies[0].networks == ("dmz",)
    assert "unknown network 'office'" in faults(text.replace("networks: [dmz]}", "networks: [office]}"))[0]


def pair(first: str, second: str, substrate: str = "compose") -> str:
    return (
        f"fleet: f\nsubstrate: {substrate}\ndeckies:\n  - {{name: a, {first}}}\n  - {{name: b, {second}}}\n"
    )


@pytest.mark.parametrize(
    ("first", "second", "fight"),
    [
        ("pool: [http], services: [http]", "pool: [http], services: [http]", True),
        ("pool: [http], services: [http]", "pool: [http, ftp], pinned: [http]", True),
        ("pool: [http], services: [http]", "pool: [http, ftp]", False),
        ("pool: [http], services: [http]", "pool: [http], services: [http], address: 127.0.0.2", False),
        ("pool: [http], services: [http]", "pool: [http], services: [http], ports: {http: 81}", False),
        ("pool: [http], services: [http]", "pool: [ftp], services: [ftp], ports: {ftp: 80}", True),
        ("pool: [sip], services: [sip], ports: {sip: 80}", "pool: [http], services: [http]", False),
        ("pool: [http], services: [http]", "pool: [http], services: [http], substrate: dry_run", False),
    ],
)
def test_two_deckies_that_ask_for_one_port_of_one_address(first: str, second: str, fight: bool) -> None:
    if not fight:
        assert len(parsed(pair(first, second)).deckies) == 2
        return
    (line,) = faults(pair(first, second))
    assert line.startswith("f:5:")
    assert "wants 127.0.0.1 port 80, which 'a' has: give it another address or port" in line


def test_a_pinned_service_and_its_decky_may_share_a_port_with_themselves() -> None:
    assert spec("{name: a, pool: [http, ftp], services: [http], pinned: [http]}", "compose").pinned == (
        "http",
    )
    for key in ("services", "pinned"):
        text = one(f"{{name: a, pool: [http, wordpress], {key}: [http, wordpress]}}", "compose")
        assert any(f"{key}: 'http' and 'wordpress' want the same port" in line for line in faults(text))


def test_equal_specs_are_equal_json_whatever_the_order_of_their_ports() -> None:
    one_way = spec("{name: a, pool: [ftp, ssh], ports: {ssh: 2, ftp: 1}}").to_json()
    other = spec("{name: a, pool: [ftp, ssh], ports: {ftp: 1, ssh: 2}}").to_json()
    assert list(one_way["ports"]) == list(other["ports"]) == ["ftp", "ssh"]
    assert one_way == other
    assert set(one_way) == {
        "name", "substrate", "archetype", "mutate_interval", "address", "pool", "services", "pinned", "networks", "ports",
    }  # fmt: skip


def test_the_payload_of_an_operation_is_checked_like_a_file() -> None:
    made = check_decky({"name": "a", "pool": ["ftp"]}, CATALOGUE, Defaults(substrate="dry_run"))
    assert (made.name, made.substrate) == ("a", "dry_run")
    with pytest.raises(FleetError) as caught:
        check_decky({"name": "A", "pool": ["x"], "ports": {"ftp": 0}}, CATALOGUE, Defaults())
    assert [line.split()[0] for line in str(caught.value).splitlines()] == ["unknown", "the", "a", "a"]


def test_the_catalogue_knows_who_plays_what_and_who_wants_whose_port() -> None:
    made = Catalogue(
        {
            "a": Service("a", 80, module="a"),
            "b": Service("b", 80, transport="udp"),
            "c": Service("c", 81, module="c"),
        },
        {},
    )
    assert made.playable(["c", "x", "a", "b"], "opencanary") == ["c", "a"]
    assert made.playable(["c", "x", "a", "b"], "dry_run") == ["c", "a", "b"]
    assert made.playable(["a"], "compose") == []
    assert made.socket_of("a", {}) == ("tcp", 80)
    assert made.socket_of("b", {"b": 5}) == ("udp", 5)
    assert made.conflicts(["a", "b", "c", "x"], {}) == {"a": frozenset(), "b": frozenset(), "c": frozenset()}
    assert made.conflicts(["a", "b", "c"], {"c": 80})["a"] == {"c"}


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("services: []\n", "1:1", "must be a mapping"),
        ("services:\n  x: {port: 1, transport: sctp}\n", "2:16", "transport must be tcp or udp"),
        ("services:\n  x: {port: 1, opencanary: {module: x, sudo: 1}}\n", "2:40", "unknown key 'sudo'; known: module, options"),
        ("services:\n  x: {port: 1, image: {name: '-v /:/host', port: 1}}\n", "2:24", "an image needs a name"),
        ("services:\n  x: {port: 1, image: {name: 'a b', port: 1}}\n", "2:24", "an image needs a name"),
        ("services:\n  x: {port: 1, image: {name: '$HOME', port: 1}}\n", "2:24", "an image needs a name"),
        ("services:\n  x: {port: 1, image: {port: 1}}\n", "2:23", "an image needs a name"),
        ("services:\n  x: {port: 1, image: {name: a, port: 0}}\n", "2:33", "port must be a number"),
        ("services:\n  x: {port: 1, image: {name: a, port: 1, privileged: true}}\n", "2:42", "unknown key 'privileged'"),
        ("archetypes:\n  x: []\n", "2:3", "a pool is a list of services"),
        ("archetypes:\n  x: [ftp, nope]\n", "2:12", "unknown service 'nope'"),
        ("[]\n", "1:1", "a catalogue is a mapping"),
        ("more: 1\n", "1:1", "unknown key 'more'"),
    ],
)  # fmt: skip
def test_a_catalogue_of_ones_own_is_checked(text: str, place: str, words: str, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_catalogue(own)
    assert any(line.startswith(f"{own}:{place}: {words}") for line in str(caught.value).splitlines()), (
        caught.value
    )


def test_a_container_is_read_only_unless_the_catalogue_says_no_in_so_many_words(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "services:\n"
        "  a: {port: 1, image: {name: a, port: 1}}\n"
        "  b: {port: 1, image: {name: b, port: 1, read_only: false}}\n"
        "  c: {port: 1, image: {name: c, port: 1, read_only: true}}\n"
    )
    found = load_catalogue(own).services
    images = [found[name].image for name in "abc"]
    assert [image and image.read_only for image in images] == [True, False, True]


def test_catalogue_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_catalogue(tmp_path / "none.yaml")
    bad = tmp_path / "bad.yaml"
    bad.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_catalogue(bad)
