"""What a table makes of one line: where values stand, of which type they have to be, what is counted, what is never lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.bounds import bitten
from decnet.sensors.formats.emits import MAX_NOTE
from decnet.sensors.formats.p0f import syn_fingerprint
from decnet.sensors.formats.reading import MAX_FIELDS, MAX_ID, LeftOut, Reading, read
from decnet.sensors.formats.shelf import shipped
from decnet.sensors.formats.values import CUT, lookup
from decnet.sensors.values import MAX_DATA, MAX_NAME, Refusal
from tests.tablekit import SMALL, made, with_rows

BASE = {"when": "2026-03-04T05:00:00Z", "who": "192.0.2.1", "sid": "a"}
TS = 1_772_600_400.0


def reading(table: Any, elements: int = 1000, **said: Any) -> Reading:
    found = read(table, {**BASE, **said}, elements)
    assert isinstance(found, Reading), found
    return found


def facts(table: Any, **said: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(kind, data) for kind, _, data in reading(table, **said).facts if kind != "extra"]


def value(spec: str, **said: Any) -> Any:
    """What a value of a table is in a line."""
    found = facts(with_rows(f"{{emit: command, text: {spec}}}"), **said)
    return found[0][1]["text"] if found else None


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a", 1), ("b.c", 2), ("g.h", 4), ("i.j.k", 5), ("b", {"c": 2}), ("a.b", None), ("x", None), ("b.x", None),
        ("b.c.d", None), ("l.0", None), ("", None), (".", None), ("n", None), ("b.", None),
    ],
)  # fmt: skip
def test_a_path_finds_what_stands_there_whatever_has_dots_in_it(path: str, found: Any) -> None:
    line = {"a": 1, "b": {"c": 2}, "g.h": 4, "i": {"j.k": 5}, "l": [1], "n": None}
    assert lookup(line, path) == found


@pytest.mark.parametrize(
    ("spec", "said", "found"),
    [
        ("a", {"a": "x"}, "x"), ("a", {"a": 7}, "7"), ("a", {"a": True}, None), ("a", {"a": None}, None), ("a", {"a": ""}, None),
        ("a", {"a": ["x", 1, None, "y"]}, "x 1 y"), ("a", {"a": [{"b": 1}]}, '[{"b": 1}]'), ("a", {"a": []}, None),
        ("[a, b]", {"a": "GET", "b": "/"}, "GET /"), ("[a, b]", {"b": "/"}, "/"), ("[a, b]", {}, None),
        ("{is: word}", {}, "word"), ("{first: [a, b]}", {"a": "", "b": "y"}, "y"), ("{first: [a, b]}", {}, None),
        ("{from: a, pattern: '^(.)'}", {"a": "xyz"}, "x"), ("{from: a, pattern: '^(q)'}", {"a": "xyz"}, None),
        ("{from: a, as: hex}", {"a": "6869"}, "hi"), ("{from: a, as: hex}", {"a": "ff00"}, "\ufffd\ufffd"), ("{from: a, as: hex}", {}, None),
        ("{from: a, as: base64}", {"a": "aGk="}, "hi"), ("{from: a, as: lower}", {"a": "ABC"}, "abc"),
        ("{from: a, map: {'1': one}}", {"a": 1}, "one"), ("{from: a, map: {'1': one}}", {"a": 2}, "2"),
        ("{from: a, map: {'1': one}, else: other}", {"a": 2}, "other"), ("{from: a, map: {'1': one}, else: other}", {}, "other"),
        ("{from: {from: a, as: hex}, pattern: '(.)$'}", {"a": "6869"}, "i"), ("a.b", {"a": {"b": "x"}}, "x"), ("a.b", {"a.b": "x"}, "x"),
        ("a", {"a": "\0\ud800"}, "\ufffd\ufffd"), ("5", {}, "5"),
    ],
)  # fmt: skip
def test_values(spec: str, said: dict[str, Any], found: Any) -> None:
    assert value(spec, **said) == found


@pytest.mark.parametrize(
    ("condition", "said", "holds"),
    [
        ("{a: x}", {"a": "x"}, True), ("{a: x}", {"a": "y"}, False), ("{a: x}", {}, False), ("{a: [x, y]}", {"a": "y"}, True), ("{a: 5}", {"a": 5}, True),
        ("{a: 5}", {"a": "5"}, True), ("{a: true}", {"a": True}, True), ("{a: true}", {"a": False}, False), ("{a: 'true'}", {"a": True}, True),
        ("{a: {pattern: '^x'}}", {"a": "xy"}, True), ("{a: {pattern: '^x'}}", {"a": "yx"}, False), ("{a: {pattern: '^x'}}", {}, False),
        ("{a: {has: true}}", {"a": 0}, True), ("{a: {has: true}}", {"a": ""}, False), ("{a: {has: false}}", {}, True), ("{a: {has: false}}", {"a": 1}, False),
        ("{a: {not: x}}", {"a": "y"}, True), ("{a: {not: x}}", {}, True), ("{a: {not: x}}", {"a": "x"}, False), ("{a: {not: [x, y]}}", {"a": "y"}, False),
        ("{a: {not: {pattern: x}}}", {"a": "axa"}, False), ("{a: {not: {not: x}}}", {"a": "x"}, True), ("{a: x, b: y}", {"a": "x", "b": "y"}, True),
        ("{a: x, b: y}", {"a": "x"}, False), ("{a: {pattern: x}}", {"a": {"deep": "x"}}, True), ("{a: x}", {"a": {"b": "x"}}, False),
    ],
)  # fmt: skip
def test_conditions(condition: str, said: dict[str, Any], holds: bool) -> None:
    assert bool(facts(with_rows(f"{{when: {condition}, emit: connect}}"), **said)) is holds


@pytest.mark.parametrize(
    ("how", "given", "ts"),
    [
        ("{field: t}", "2026-03-04T05:00:00Z", TS), ("{field: t}", "2026-03-04 05:00:00", TS), ("{field: t}", "2026/03/04 05:00:00", TS),
        ("{field: t}", "2026-03-04T07:00:00+0200", TS), ("{field: t, zone: '+02:00'}", "2026-03-04T07:00:00", TS), ("{field: t}", "1772600400.5", TS + 0.5),
        ("{field: t, zone: '-03:30'}", "2026-03-04 01:30:00", TS), ("{field: t, zone: '+02:00'}", "2026-03-04T05:00:00Z", TS),
        ("{field: t, zone: '+02:00'}", "2026-03-04 05:00:00 UTC", TS), ("{field: t, as: unix}", 1_772_600_400, TS), ("{field: t, as: unix}", "1772600400.25", TS + 0.25),
        ("{field: t, as: unix_ms}", 1_772_600_400_250, TS + 0.25), ("{field: t, as: unix_us}", 1_772_600_400_250_000, TS + 0.25),
        ("{field: [u, t]}", "2026-03-04T05:00:00Z", TS), ("{field: t}", "yesterday", None), ("{field: t}", None, None), ("{field: t, as: unix}", "soon", None),
        ("{field: t, as: unix}", True, None), ("{field: t, as: unix}", -5, None), ("{field: t}", {"a": 1}, None), ("{field: t, as: unix}", 1e300, None),
    ],
)  # fmt: skip
def test_times(how: str, given: Any, ts: float | None) -> None:
    found = read(with_rows("{emit: connect}", time=how), {**BASE, "t": given}, 9)
    assert (found.ts if isinstance(found, Reading) else found) == (Refusal("no_time") if ts is None else ts)


@pytest.mark.parametrize(
    ("who", "ip"),
    [
        ("192.0.2.1", "192.0.2.1"), ("192.0.2.1:6000", "192.0.2.1"), ("[2001:db8::1]:80", "2001:db8::1"), ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"), ("attacker", None), ("", None), (None, None), ({"ip": "192.0.2.1"}, None), (5, None), (["192.0.2.1"], "192.0.2.1"),
    ],
)  # fmt: skip
def test_a_line_without_a_readable_address_is_refused(who: Any, ip: str | None) -> None:
    found = read(with_rows("{emit: connect}"), {**BASE, "who": who}, 9)
    assert (found.ip if isinstance(found, Reading) else found) == (Refusal("no_peer") if ip is None else ip)


def test_lines_that_only_their_session_knows_the_address_of_are_taken_where_the_table_says_so() -> None:
    table = with_rows(
        "{when: {what: cmd}, emit: command, text: text}\n{when: {what: end}, emit: closed, anonymous: true}"
    )
    assert [kind for kind, _ in facts(table, what="end", who="")] == ["closed"]
    assert read(table, {**BASE, "who": "", "what": "cmd", "text": "id"}, 9) == Refusal("no_peer")
    assert reading(table, what="end", who="").ip is None


def test_a_line_that_names_no_session_is_refused_when_it_has_anything_for_one() -> None:
    assert read(with_rows("{emit: connect}"), {**BASE, "sid": ""}, 9) == Refusal("no_session")
    table = with_rows("{emit: fingerprint, type: ja4, value: v}")
    assert reading(table, sid="", v="x").prints == [("ja4", {"value": "x"})]


def test_a_session_is_named_by_its_values_and_its_span() -> None:
    table = with_rows("{emit: connect}", id="[sid, port]", per="1h")
    hour = int(TS // 3600 * 3600)
    assert reading(table, port=7).session == f"a|7|{hour}"
    assert reading(table).session == f"a||{hour}"
    assert reading(table, when=TS + 3599).session == f"a||{hour}"
    assert reading(table, when=TS + 3600).session == f"a||{hour + 3600}"
    long = reading(with_rows("{emit: connect}"), sid="x" * 256).session
    assert len(long) == MAX_ID
    assert long != reading(with_rows("{emit: connect}"), sid="x" * 255).session
    assert reading(with_rows("{emit: connect}"), sid="x" * MAX_ID).session == "x" * MAX_ID


@pytest.mark.parametrize(
    ("emit", "said", "data"),
    [
        ("login, username: u, password: p", {"u": "root", "p": "x"}, {"username": "root", "secret": "x", "secret_kind": "password", "success": False}),
        ("login, username: u, password: p, success: s", {"p": 5, "s": "true"}, {"username": "", "secret": "5", "secret_kind": "password", "success": True}),
        ("login, username: u, password: p, secret_kind: community", {"p": "c"}, {"username": "", "secret": "c", "secret_kind": "community", "success": False}),
        ("login, username: u, password: p", {}, None), ("login, username: u, password: p", {"u": "", "p": ""}, None),
        ("session, bytes_read: n", {"n": 7_340_032}, {"bytes_read": 7_340_032}), ("session, bytes_read: n", {"n": "12"}, {"bytes_read": 12}),
        ("session, bytes_read: n", {"n": 5_000_000_000}, {"bytes_read": 5_000_000_000}), ("session, bytes_read: n", {"n": 2**53}, {"bytes_read": 2**53}),
        ("session, bytes_read: n", {"n": 2**53 + 2}, None), ("session, bytes_read: n", {"n": -1}, None), ("session, bytes_read: n", {"n": True}, None),
        ("session, bytes_read: n", {"n": float("inf")}, None), ("session, bytes_read: n", {"n": float("nan")}, None), ("session, bytes_read: n", {"n": "many"}, None),
        ("session, op_text: a, note_text: b", {"a": "x" * 9000}, {"op_text": "x" * 8192}), ("closed, duration: d", {"d": "4.5"}, {"duration": 4.5}),
        ("closed, duration: d", {"d": -1}, {"duration": None}), ("closed, duration: d", {}, {"duration": None}), ("connect", {}, {"dst_port": None}),
        ("client, version: v", {"v": "SSH-2.0-Go"}, {"version": "SSH-2.0-Go"}), ("client, version: v", {}, None),
        ("download, url: u, sha256: h", {"u": "http://x/"}, {"url": "http://x/", "sha256": None}), ("download, url: u", {}, None),
        ("upload, filename: f", {"f": "x"}, {"filename": "x", "sha256": None}), ("exploit, cve: c", {"c": "CVE-1"}, {"cve": "CVE-1", "success": False}),
        ("http_request, raw_url: u, method: m, status: s", {"u": "/", "s": 404}, {"method": "", "user_agent": "", "host": "", "raw_url": "/", "status": 404}),
        ("http_request, raw_url: u, method: m", {"m": "GET"}, None),
    ],
)  # fmt: skip
def test_what_a_row_gives(emit: str, said: dict[str, Any], data: dict[str, Any] | None) -> None:
    found = facts(with_rows(f"{{emit: {emit}}}"), **said)
    assert [one for _, one in found] == ([] if data is None else [data])


def test_each_element_of_a_list_gives_one_a_microsecond_after_the_other() -> None:
    table = with_rows("{each: c, emit: login, username: .u, password: .p}")
    both = [[{"u": "a", "p": "x"}, {"u": "b"}, {}], {"u": ["a", "b"], "p": ["x"]}]
    for given_list in both:
        found = reading(table, c=given_list)
        assert [(ts, data["username"], data["secret"]) for kind, ts, data in found.facts if kind == "login"] == [
            (TS, "a", "x"), (TS + 1e-6, "b", None),
        ]  # fmt: skip
        assert found.dropped == 0
    assert facts(with_rows("{each: c, emit: command, text: .}"), c=["id", "ls"]) == [
        ("command", {"text": "id"}), ("command", {"text": "ls"}),
    ]  # fmt: skip
    assert facts(with_rows("{each: c, when: {.u: b}, emit: command, text: [.u, sid]}"), c=both[0]) == [
        ("command", {"text": "b a"})
    ]


@pytest.mark.parametrize(("count", "dropped"), [(3, 0), (4, 1), (9, 6)])
def test_elements_beyond_the_bound_are_counted(count: int, dropped: int) -> None:
    table = with_rows("{each: c, emit: command, text: .}")
    for elements in ([str(i) for i in range(count)], {"x": [str(i) for i in range(count)]}):
        found = reading(table, 3, c=elements)
        assert found.dropped == dropped
    assert (
        len([one for one in reading(table, 3, c=[str(i) for i in range(count)]).facts if one[0] == "command"])
        == 3
    )


@pytest.mark.parametrize("odd", ["text", 5, True])
def test_what_should_be_a_list_and_is_none_is_counted(odd: Any) -> None:
    found = reading(with_rows("{each: c, emit: command, text: .}\n{emit: connect}"), c=odd)
    assert found.dropped == 1


def test_what_no_row_takes_is_kept_but_no_secret_and_nothing_twice() -> None:
    table = with_rows("{when: {what: cmd}, emit: command, text: text}", without="[noise]")
    found = reading(
        table, what="cmd", text="id", noise="x", port=22, deep={"a": {"b": 1}, "password": "p"}, password="p", empty="",
        nothing=None, items=[1, 2], on=True, auth_token="t", headers=[["Cookie", "c"]],
    )  # fmt: skip
    kind, ts, data = found.facts[0]
    assert (kind, ts) == ("extra", TS), "before a line that closes the session"
    assert data == {
        "eventid": "small.small",
        "fields": {"port": "22", "deep.a.b": "1", "items": "[1, 2]", "on": True, "headers": '[["Cookie"]]'},
    }


def test_a_table_may_keep_nothing_else() -> None:
    table = with_rows("{when: {what: cmd}, emit: command, text: text}", rest="false")
    assert [kind for kind, *_ in reading(table, what="cmd", text="id", port=22).facts] == ["command"]


@pytest.mark.parametrize(("more", "dropped"), [(0, 0), (1, 1), (50, 50)])
def test_fields_beyond_the_bound_are_counted(more: int, dropped: int) -> None:
    found = reading(with_rows("{emit: connect}"), **{f"f{i}": i + 1 for i in range(MAX_FIELDS + more)})
    assert (len(found.facts[0][2]["fields"]), found.dropped) == (MAX_FIELDS, dropped)


def test_kinds_that_are_left_out_known_and_not_known() -> None:
    table = with_rows(
        "{when: {what: [cmd, run]}, emit: command, text: text}",
        kind="what",
        leave="{noise: says nothing}",
        rest="false",
    )
    assert read(table, {"what": "noise"}, 9) == LeftOut("noise"), "whatever else it lacks"
    known = reading(table, what="run", text="")
    assert (known.known, known.says_nothing) == (True, True)
    new = reading(table, what="brand new", port=7, text="id")
    fields = {"port": "7", "text": "id"}
    assert new.facts == [("extra", TS, {"eventid": "small.brand new", "fields": fields})]
    assert not new.known


def test_a_value_from_which_the_wanted_one_does_not_follow_is_counted() -> None:
    table = with_rows(
        "{emit: fingerprint, type: tcpfp, value: {from: s, as: p0f_syn}}\n{emit: command, text: [{from: h, as: hex}, x]}"
    )
    found = reading(table, s="4:64+0:0:1460:mss*44,7:mss:df:0", h="zz", x="y")
    assert (found.not_derived, found.prints, found.facts) == (2, [], [])
    assert reading(table).not_derived == 0


@pytest.mark.parametrize(
    ("signature", "found"),
    [
        ("4:44+20:0:1460:1024,0:mss::0", "1024_2_1460_00"), ("4:255+0:0:0:65535,0:::0", "65535_00_00_00"), ("4:64-:0:1460:1024,0:::0", "1024_00_00_00"),
        ("4:128+0:0:1460:65535,8:mss,nop,ws,nop,nop,sok:df,id+:0", "65535_2-1-3-1-1-4_1460_8"), ("4:64+0:0:1460:65535,0:mss,ws::0", "65535_2-3_1460_0"),
        ("4:56+8:0:1460:65535,6:mss,nop,ws,nop,nop,ts,sok,eol+1:df,id+:0", "65535_2-1-3-1-1-8-4-0-0_1460_6"), ("4:64+0:0:1460:512,0:mss,?253::0", "512_2-253_1460_00"),
        ("4:64+0:0:1460:mss*44,7:mss,sok,ts,nop,ws:df,id+:0", None), ("4:64+0:0:1460:mtu*4,0:mss::0", None), ("4:64+0:0:*:1024,0:mss::0", None),
        ("4:64+0:0:1460:1024,*:mss,ws::0", None), ("4:64+0:0:1460:1024,*:mss::0", "1024_2_1460_00"), ("4:64+0:0:1460:1024:mss::0", None), ("", None), ("a:b", None),
        ("4:64+0:0:1460:99999,0:mss::0", None), ("4:64+0:0:1460:\u0661,0:mss::0", None), ("4:64+0:0:1460:1024,0:mss,boo::0", None),
        ("4:64+0:0:1460:1024,0:" + ",".join(["nop"] * 41) + "::0", None), ("4:64+0:0:1460:1024,0:eol+99::0", None),
    ],
)  # fmt: skip
def test_syn_packets_as_p0f_describes_them(signature: str, found: str | None) -> None:
    assert syn_fingerprint(signature) == found


HOSTILE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.just(10**400)
    | st.just("\0\ud800"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(st.data())
def test_no_line_makes_a_table_fail(data: st.DataObject) -> None:
    """Any values at the places that a table asks for, and elsewhere."""
    table = data.draw(st.sampled_from(list(shipped().tables.values())))
    (shown, *_) = [json.loads(one) for one in table.sample.splitlines() if one.startswith('{"')] or [{}]
    line = {key: data.draw(st.just(value) | HOSTILE) for key, value in shown.items()}
    line |= data.draw(st.dictionaries(st.text(max_size=8), HOSTILE, max_size=3))
    found = read(table, line, 5)
    assert isinstance(found, (Reading, LeftOut, Refusal))
    if isinstance(found, Reading):
        json.dumps([found.facts, found.prints], allow_nan=False)


def test_a_line_that_nests_without_end_and_a_number_without_end_cost_only_themselves() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    table = made(SMALL)
    assert isinstance(read(table, {**BASE, "what": deep, "x": deep}, 9), (Reading, Refusal))
    assert read(table, {**BASE, "what": "cmd", "text": 10**5000}, 9) == Refusal("too_large")
    nested: dict[str, Any] = {}
    at = nested
    for _ in range(5_000):
        at["k"] = {}
        at = at["k"]
    assert isinstance(read(with_rows("{emit: connect}"), {**BASE, "x": nested}, 9), (Reading, Refusal))


@pytest.mark.parametrize(("more", "cut"), [(0, 0), (1, 1)])
def test_a_value_longer_than_what_is_kept_of_it_is_counted(more: int, cut: int) -> None:
    table = with_rows("{emit: session, op_text: a}\n{emit: login, username: u}")
    reading(table, a="x" * (MAX_NOTE + more))
    assert bitten(CUT) == {CUT: cut}
    reading(table, u="x" * (MAX_NAME + more))
    assert bitten(CUT) == {CUT: 2 * cut}
    (_, _, extra), *_ = reading(table, u="y", odd="z" * (MAX_DATA + more)).facts
    assert (bitten(CUT), len(extra["fields"]["odd"])) == ({CUT: 3 * cut}, MAX_DATA)
