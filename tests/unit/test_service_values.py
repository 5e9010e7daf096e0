"""What may be asked about: public things only, each in one spelling; whatever is not plainly public stays here."""

from __future__ import annotations

from typing import get_args
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.addresses import fold, special
from decnet.intel.services.base import Kind, Value
from decnet.intel.services.values import MAX_URL, NOT_ASKED, Unaskable, value_of

SHA256 = "a1" * 32
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def why(kind: Kind, text: str) -> str:
    with pytest.raises(Unaskable) as caught:
        value_of(kind, text)
    return caught.value.reason


def taken(kind: Kind, text: str) -> Value | None:
    try:
        return value_of(kind, text)
    except Unaskable as error:
        if error.reason not in NOT_ASKED:
            raise
        return None


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("address", "91.92.93.94", Value("address", "91.92.93.94")),
        ("address", "::ffff:91.92.93.94", Value("address", "91.92.93.94")),
        ("address", "2A0B:F4C0::0001", Value("address", "2a0b:f4c0::1")),
        ("sha256", SHA256.upper(), Value("sha256", SHA256)),
        ("host", "CDN.BadHost.ru.", Value("host", "cdn.badhost.ru")),
        ("host", "91.92.93.94", Value("address", "91.92.93.94")),
        ("host", "xn--80ak6aa92e.com", Value("host", "xn--80ak6aa92e.com")),
        ("url", "http://91.92.93.94/a;b?c=d#frag", Value("url", "http://91.92.93.94/a;b?c=d")),
        ("url", "ftp://cdn.badhost.ru:2121/x", Value("url", "ftp://cdn.badhost.ru:2121/x")),
        ("url", "http://[2a0b:f4c0::1]/x", Value("url", "http://[2a0b:f4c0::1]/x")),
    ],
)
def test_a_public_thing_is_asked_about_in_one_spelling(kind: Kind, text: str, value: Value) -> None:
    assert value_of(kind, text) == value


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1", "127.0.0.1", "169.254.169.254", "192.168.1.1", "172.16.0.1", "100.64.0.1", "192.0.2.7", "198.51.100.7",
        "203.0.113.7", "224.0.0.1", "0.0.0.0", "255.255.255.255", "::1", "fe80::1", "fd00::1", "2001:db8::1", "::ffff:10.0.0.1",
        "64:ff9b::a00:1", "2002:a00:1::", "010.0.0.001",
    ],
)  # fmt: skip
def test_an_address_that_is_nobodys_is_never_asked_about_in_whatever_it_stands(address: str) -> None:
    reason = "no_value" if address == "010.0.0.001" else "special_address"
    assert why("address", address) == reason
    assert why("host", address) in (reason, "no_value")
    host = f"[{address}]" if ":" in address else address
    assert why("url", f"http://{host}/x") in (reason, "no_value")


@pytest.mark.parametrize(
    "name",
    [
        "localhost", "db.localhost", "nas.local", "mail.corp", "x.internal", "router.lan", "host.home.arpa", "h.example.com",
        "example.org", "a.test", "94.93.92.91.in-addr.arpa", "abcdefghij234567.onion", "printer.home",
    ],
)  # fmt: skip
def test_a_name_of_an_inner_network_stays_here(name: str) -> None:
    assert why("host", name) == "inner_name"
    assert why("url", f"http://{name}/x") == "inner_name"


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("address", "no address", "no_value"),
        ("address", "", "no_value"),
        ("sha256", "a1" * 31, "no_value"),
        ("sha256", SHA256 + "\n/../../users", "no_value"),
        ("sha256", "g" * 64, "no_value"),
        ("sha256", EMPTY, "empty_file"),
        ("host", "intranet", "inner_name"),
        ("host", "server", "no_value"),
        ("host", "0x7f.0.0.1", "no_value"),
        ("host", "127.1", "no_value"),
        ("host", "2130706433", "no_value"),
        ("host", "a..ru", "no_value"),
        ("host", "a b.ru", "no_value"),
        ("host", "a.ru/x", "no_value"),
        ("host", f"{'a' * 64}.ru", "no_value"),
        ("host", f"{'a.' * 126}ru", "no_value"),
        ("url", "http://user:pw@cdn.badhost.ru/x", "log_in"),
        ("url", "http://cdn.badhost.ru@127.0.0.1/x", "log_in"),
        ("url", "file:///etc/passwd", "no_value"),
        ("url", "gopher://cdn.badhost.ru/x", "no_value"),
        ("url", "http://cdn.badhost.ru:99999/x", "no_value"),
        ("url", "http://cdn.badhost.ru/a b", "no_value"),
        ("url", "http://cdn.badhost.ru/\r\nX: y", "no_value"),
        ("url", "http://[::1", "no_value"),
        ("url", "cdn.badhost.ru/x", "no_value"),
        ("list", "ipblocklist", "no_value"),
    ],
)
def test_what_is_not_plainly_public_is_not_asked_about(kind: Kind, text: str, reason: str) -> None:
    assert why(kind, text) == reason
    assert reason in NOT_ASKED


def test_a_url_of_the_greatest_length_is_asked_about_and_a_longer_one_is_not() -> None:
    longest = "http://cdn.badhost.ru/".ljust(MAX_URL, "x")
    assert value_of("url", longest).text == longest
    assert why("url", longest + "x") == "no_value"


def test_every_kind_is_judged() -> None:
    for kind in get_args(Kind):
        assert why(kind, "\x00") in NOT_ASKED


HOSTS = st.sampled_from(
    ["10.0.0.1", "[::1]", "[fe80::1%25eth0]", "a.local", "a.ru", "91.92.93.94", "localhost", "2130706433", ""]
)
PARTS = st.sampled_from(
    ["http:", "ftp:", "//", "/", "@", ":", "80", "99999", "#", "?", "\\", "%", " ", "[", "]", "u:p", "."]
)
TEXTS = st.text(max_size=30) | st.lists(HOSTS | PARTS | st.text(max_size=3), max_size=8).map("".join)


@given(st.sampled_from(get_args(Kind)), TEXTS)
def test_whatever_is_asked_about_is_public_and_stays_what_it_is(kind: Kind, text: str) -> None:
    value = taken(kind, text)
    if value is None:
        return
    parts = urlsplit(value.text)
    host = parts.hostname or value.text
    address = fold(host)
    assert value_of(value.kind, value.text) == value
    assert address is None or special(address) is None
    assert not host.endswith("local")
    assert "@" not in parts.netloc
