"""What lies in an inbox, piece by piece: mboxes, kept mails, webhooks, lists; pure."""

from __future__ import annotations

import io
import json
from typing import Any
from urllib.parse import quote_plus

import pytest

from decnet.bus.base import Event
from decnet.events.topics import record_of
from decnet.ids import attacker_id
from decnet.sensors.inbox.lists import said_of
from decnet.sensors.inbox.mailbox import pieces
from decnet.sensors.inbox.mails import mail_events
from decnet.sensors.inbox.secrets import CUT, without_secret
from decnet.sensors.inbox.webhooks import (
    form_message,
    is_canarytoken,
    json_or_text,
    opencanary_line,
    trigger_event,
)
from decnet.sensors.values import Refusal
from tests.mailkit import message, mixed, part

TS = 1_772_600_000.0
RECEIVED = (
    "Received: from mail.relay.example (relay.example [203.0.113.41])\r\n\tby mx.own.example (Postfix) with ESMTP id 1\r\n"
    "\tfor <a@own.example>; Wed, 04 Mar 2026 05:00:00 +0000"
)
SECRET = "s3cr3tauth"
TOKEN = {
    "manage_url": f"https://canarytokens.org/manage?token=abc123&auth={SECRET}",
    "memo": "on web-01",
    "channel": "HTTP",
    "time": "2026-03-04 05:00:00 (UTC)",
    "additional_data": {"src_ip": "203.0.113.60", "useragent": "curl/8.9.1"},
}
CANARY = {
    "dst_host": "192.0.2.9", "dst_port": 21, "local_time": "2026-03-04 05:00:00.000000", "logtype": 2000,
    "logdata": {"USERNAME": "root", "PASSWORD": "hunter2"}, "node_id": "canary-1", "src_host": "203.0.113.61", "src_port": 4,
    "utc_time": "2026-03-04 05:00:00.000000",
}  # fmt: skip


def of(data: bytes, offset: int = 0, most: int = 1000) -> list[tuple[int, bytes | None]]:
    return [(piece.end, piece.data) for piece in pieces(io.BytesIO(data), offset, most)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_an_mbox_is_taken_apart_at_its_from_lines(end: bytes) -> None:
    text = b"From a Wed Mar  4\nA: 1\n\none\n>From x\n>>From y\n\nFrom b\nB: 2\n\nnot From here\nFrom inside\n\n\nFrom c\n\n"
    data = text.replace(b"\n", end)
    bodies = [b"A: 1\n\none\nFrom x\n>From y\n", b"B: 2\n\nnot From here\nFrom inside\n\n", b""]
    found = of(data)
    assert [body for _, body in found] == [body.replace(b"\n", end) for body in bodies]
    assert found[-1][0] == len(data)
    for number, (place, _) in enumerate(found):
        assert of(data, place) == found[number + 1 :], "each end is a place to go on from"


def test_a_message_of_an_mbox_is_refused_when_it_is_too_long_and_the_others_are_not() -> None:
    def mbox(size: int) -> bytes:
        return b"From a\n" + b"x" * (size - 1) + b"\n\nFrom b\nB: 2\n"

    assert [body for _, body in of(mbox(1000))] == [b"x" * 999 + b"\n", b"B: 2\n"]
    assert [body for _, body in of(mbox(1001))] == [None, b"B: 2\n"]
    assert [body for _, body in of(mbox(200_000))] == [None, b"B: 2\n"]
    assert of(b"") == []


def test_a_long_line_is_no_begin_of_a_message_wherever_it_is_cut() -> None:
    line = b"y" * 65_536 + b"From z" + b"y" * 65_536
    (one,) = of(b"From a\n\n" + line, most=10**6)
    assert one[1] == b"\n" + line
    (one,) = of(b"From a\n" + b"y" * 65_536 + b"\nFrom z\n", most=10**6)
    assert one[1] == b"y" * 65_536 + b"\nFrom z\n"


class Endless(io.RawIOBase):
    """Ten gigabytes of messages that nobody has on a disk; counts how much is kept at once."""

    def __init__(self, size: int) -> None:
        self.size, self.at = size, 0
        self.block = b"From a@b Wed Mar  4 05:00:00 2026\nSubject: x\n\n" + b"text of it\n" * 90 + b"\n"

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset
        return offset

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self.size - self.at)
        start = self.at % len(self.block)
        text = (self.block * (count // len(self.block) + 2))[start : start + count]
        buffer[:count] = text
        self.at += count
        return count


def test_an_mbox_of_ten_gigabytes_is_gone_on_with_anywhere_and_read_in_pieces() -> None:
    whole = Endless(10 * 2**30)
    place = (whole.size // len(whole.block) - 20_000) * len(whole.block)
    count, greatest = 0, 0
    for piece in pieces(io.BufferedReader(whole, 65_536), place, 10_000):  # type: ignore[arg-type]
        count += 1
        greatest = max(greatest, len(piece.data or b""))
    assert piece.end == whole.size
    assert count in (20_000, 20_001)
    assert greatest == len(whole.block) - 35


def kept(*headers: str) -> list[Event]:
    found = mail_events(message("hello", *headers), TS)
    assert not isinstance(found, Refusal)
    return found


def test_a_kept_mail_is_of_the_host_that_handed_it_over() -> None:
    (event,) = kept(
        RECEIVED,
        "Return-Path: <b@relay.example>",
        "Delivered-To: a@own.example",
        "To: A@own.example, c@own.example",
    )
    told = event.payload
    assert (event.topic, told["attacker_ip"], told["attacker_uuid"]) == (
        "email.received", "203.0.113.41", attacker_id("203.0.113.41"),
    )  # fmt: skip
    assert event.ts == 1_772_600_400.0
    assert (told["mail_from_domain"], told["return_path_domain"]) == ("relay.example", "relay.example")
    assert (told["rcpt_count"], told["rcpt_domains"], told["source_id"]) == (2, ["own.example"], event.id)
    record = record_of(event.topic)
    assert record is not None
    assert record.parse(told).build() == told


def test_hosts_inside_are_passed_over_and_what_stands_below_the_first_outside_is_not_believed() -> None:
    inner = "Received: from filter (filter [10.0.0.5]) by mx; Wed, 04 Mar 2026 05:00:09 +0000"
    local = "Received: from localhost (localhost [IPv6:::1]) by mx"
    forged = "Received: from x [198.51.100.7] by y"
    (event,) = kept(local, inner, RECEIVED, forged)
    assert event.payload["attacker_ip"] == "203.0.113.41"
    qmail = "Received: from unknown (HELO x) (203.0.113.42) by 0 with SMTP; 4 Mar 2026 05:00:00 -0000"
    assert kept(qmail)[0].payload["attacker_ip"] == "203.0.113.42"
    (other,) = kept("Received: from a ([IPv6:2001:db8::7]) by (mx [203.0.113.1])")
    assert (other.payload["attacker_ip"], other.ts) == ("2001:db8::7", TS)
    assert kept(RECEIVED.partition(";")[0], "Date: Wed, 04 Mar 2026 06:00:00 +0000")[0].ts == 1_772_604_000.0


@pytest.mark.parametrize(
    "headers",
    [(), ("Received: from x by y",), ("Received: by mx [203.0.113.1]",), ("Received: from a [10.0.0.1] by b",),
     ("Received: from a [999.1.1.1] by b",)],
)  # fmt: skip
def test_without_a_host_outside_nobody_sent_it(headers: tuple[str, ...]) -> None:
    assert mail_events(message("x", *headers), TS) == Refusal("no_peer")


def test_a_mail_given_twice_is_one_event_whatever_its_file_is_called() -> None:
    data = message("hello", RECEIVED)
    one, two = mail_events(data, TS), mail_events(data, TS + 5)
    assert one == two
    other = mail_events(message("other", RECEIVED), TS)
    assert not isinstance(one, Refusal)
    assert not isinstance(other, Refusal)
    assert one[0].id != other[0].id


def test_a_link_local_address_in_a_greeting_is_told() -> None:
    line = "Received: from [IPv6:fe80::1] (x [203.0.113.41]) by mx; Wed, 04 Mar 2026 05:00:00 +0000"
    mail, leak = kept(line)
    assert (leak.topic, leak.type, leak.payload["address"]) == (
        "attacker.fingerprinted",
        "ipv6_leak",
        "fe80::1",
    )
    assert leak.payload["attacker_uuid"] == mail.payload["attacker_uuid"]


def test_files_that_are_known_to_be_bad_are_told_in_kept_mails_too() -> None:
    import hashlib

    data = mixed(part(b"evil", "image/png", "a.png")).replace(b"From:", RECEIVED.encode() + b"\r\nFrom:", 1)
    found = mail_events(data, TS, {hashlib.sha256(b"evil").hexdigest()})
    assert not isinstance(found, Refusal)
    assert found[0].payload["mal_hash_match"] is True


def test_comments_in_comments_cost_the_recipients_only() -> None:
    (event,) = kept(RECEIVED, "To: " + "(" * 4000)
    assert "rcpt_count" not in event.payload


def trigger(**more: Any) -> Event:
    found = trigger_event({**TOKEN, **more}, TS)
    assert not isinstance(found, Refusal)
    return found


def test_a_canarytoken_is_a_trigger_and_its_secret_goes_nowhere() -> None:
    event = trigger()
    assert (event.topic, event.ts) == ("canary.abc123.triggered", 1_772_600_400.0)
    told = event.payload
    assert (told["token_id"], told["attacker_ip"], told["user_agent"]) == (
        "abc123",
        "203.0.113.60",
        "curl/8.9.1",
    )
    assert told["trigger_id"] == event.id == trigger().id
    assert SECRET not in event.to_bytes().decode()
    assert trigger(time="2026-03-04 05:00:01 (UTC)").id != event.id


@pytest.mark.parametrize(
    ("more", "token"),
    [
        ({"token": "named"}, "named"),
        ({"token": "no name"}, "abc123"),
        ({"token": "a.b.>"}, "abc123"),
        ({"manage_url": f"https://x.example/nest/manage/{SECRET}/abc"}, None),
        ({"manage_url": "https://[broken"}, None),
        ({"manage_url": None}, None),
    ],
)
def test_the_name_of_a_token(more: dict[str, Any], token: str | None) -> None:
    told = trigger(**more).payload["token_id"]
    if token is not None:
        assert told == token
    assert told == trigger(**more).payload["token_id"]
    assert SECRET not in told
    assert len(told) <= 64


def test_other_versions_of_a_canarytoken_are_read_too() -> None:
    new = {"channel": "DNS", "token_type": "dns", "token": "t1", "src_ip": "::ffff:198.51.100.53", "time": TS,
           "src_data": {"hostname": "x.t1.canarytokens.example"}}  # fmt: skip
    assert is_canarytoken(new)
    event = trigger_event(new, 0.0)
    assert not isinstance(event, Refusal)
    assert (event.ts, event.payload["attacker_ip"], event.payload["peer_kind"]) == (
        TS,
        "198.51.100.53",
        "resolver",
    )
    assert event.payload["dns_qname"] == "x.t1.canarytokens.example"
    assert trigger_event({**TOKEN, "additional_data": {}}, TS) == Refusal("no_peer")
    assert trigger_event({**TOKEN, "additional_data": "text", "src_ip": ["x"]}, TS) == Refusal("no_peer")
    assert trigger(time="nonsense").ts == TS
    assert not is_canarytoken([TOKEN])
    assert not is_canarytoken({"channel": "HTTP"})


@pytest.mark.parametrize(
    "raw",
    [
        CANARY,
        {"message": CANARY},
        {"message": json.dumps(CANARY)},
        form_message(f"message={quote_plus(json.dumps(CANARY))}"),
    ],
)
def test_bodies_of_opencanary_hold_a_log_line(raw: Any) -> None:
    assert opencanary_line(raw) == CANARY


@pytest.mark.parametrize(
    "raw", [None, "text", 1, [], {}, {"message": "text"}, {"message": {"a": 1}}, {"message": None}]
)
def test_other_bodies_hold_none(raw: Any) -> None:
    assert opencanary_line(raw) is None


def test_a_form_is_bounded() -> None:
    assert form_message("message=&a=b") is None
    assert form_message("message=text") == "text"
    assert form_message("message=1&" + "a=1&" * 40) is None
    assert json_or_text("[" * 100_000) == "[" * 100_000


BODIES = [
    json.dumps(TOKEN),
    json.dumps(TOKEN).replace("/", "\\/"),
    json.dumps({"message": json.dumps(TOKEN)}),
    json.dumps(TOKEN)[:78],
    f"message={quote_plus(json.dumps(TOKEN))}",
    f"manage_url=https%3A%2F%2Fx%2Fmanage%3Ftoken%3Da%26auth%3D{SECRET}",
    json.dumps([{"a": [TOKEN]}], indent=1),
]


@pytest.mark.parametrize("body", BODIES)
def test_the_secret_is_cut_out_of_a_body_that_is_kept(body: str) -> None:
    assert SECRET in body
    told = without_secret(body.encode())
    assert SECRET.encode() not in told
    assert CUT in told
    if body.startswith("{") and body.endswith("}"):
        assert json.loads(told)


FEODO = [
    {
        "ip_address": "203.0.113.50",
        "port": 443,
        "status": "online",
        "malware": "Emotet",
        "last_online": "2026-03-04",
    }
]
THREATFOX = {
    "1": [{"ioc_value": "203.0.113.51:443", "ioc_type": "ip:port", "threat_type": "botnet_cc", "malware_printable": "Cobalt Strike",
           "confidence_level": 100, "last_seen_utc": "2026-03-04 05:00:00"}],
    "2": [{"ioc_value": "http://203.0.113.51/x", "ioc_type": "url", "threat_type": "payload_delivery", "confidence_level": 49,
           "malware_printable": "Mirai"}],
    "3": [{"ioc_value": "evil.example", "ioc_type": "domain", "threat_type": "botnet_cc", "confidence_level": 75}],
}  # fmt: skip
URLHAUS = {
    "9": [{"url": "http://203.0.113.52:8080/a", "url_status": "online", "threat": "malware_download", "tags": ["elf", "mirai"]}],
    "8": [{"url": "http://203.0.113.52/b", "url_status": "offline", "threat": "malware_download", "tags": None}],
}  # fmt: skip
ABUSE = {
    "meta": {},
    "data": [
        {
            "ipAddress": "203.0.113.53",
            "abuseConfidenceScore": 75,
            "lastReportedAt": "2026-03-04T05:00:00+00:00",
        }
    ],
}
NOISE = {
    "data": [
        {
            "ip": "203.0.113.54",
            "classification": "malicious",
            "tags": ["SSH Bruteforcer"],
            "actor": "unknown",
            "last_seen": "2026-03-04",
        }
    ]
}
WANTED: dict[str, dict[str, Any]] = {
    "feodo": {"feodo_listed": True, "feodo_malware_family": "Emotet", "aggregate_verdict": "malicious"},
    "threatfox": {
        "threatfox_listed": True, "threatfox_threat_types": ["botnet_cc"], "threatfox_ioc_types": ["ip:port"],
        "threatfox_malware_families": ["Cobalt Strike"], "aggregate_verdict": "malicious",
    },
    "urlhaus": {
        "urlhaus_listed": True, "urlhaus_online": 1, "urlhaus_threats": ["malware_download"], "urlhaus_tags": ["elf", "mirai"],
        "aggregate_verdict": "malicious",
    },
    "abuseipdb": {"abuseipdb_score": 75.0, "aggregate_verdict": "malicious"},
    "greynoise": {
        "greynoise_classification": "malicious", "greynoise_name": "unknown", "greynoise_tags": ["SSH Bruteforcer"],
        "aggregate_verdict": "malicious",
    },
}  # fmt: skip
ABUSE_CH = "################\r\n# abuse.ch CSV                #\r\n#\r\n"
CSV = {
    "feodo": ABUSE_CH + '# "first_seen_utc","dst_ip","dst_port","c2_status","last_online","malware"\r\n'
    '"2026-03-01 05:00:00","203.0.113.50","443","online","2026-03-04","Emotet"\r\n# END 1 entries\r\n',
    "threatfox": ABUSE_CH + '# "first_seen_utc","ioc_id","ioc_value","ioc_type","threat_type","fk_malware","malware_alias",'
    '"malware_printable","last_seen_utc","confidence_level","reference"\r\n"2026-03-04 05:00:00", "1", "203.0.113.51:443", '
    '"ip:port", "botnet_cc", "win.cobalt_strike", "Agentemis,BEACON", "Cobalt Strike", "", "100", "None"\r\n',
    "urlhaus": ABUSE_CH + "# id,dateadded,url,url_status,last_online,threat,tags,urlhaus_link,reporter\r\n"
    '"9","2026-03-04 05:00:00","http://203.0.113.52:8080/a","online","","malware_download","elf,mirai","x","y"\r\n',
    "abuseipdb": "ip,country_code,abuse_confidence_score,last_reported_at\n203.0.113.53,XX,75,2026-03-04T05:00:00+00:00\n",
    "greynoise": "ip,classification,actor,tags,last_seen\n203.0.113.54,malicious,unknown,SSH Bruteforcer,2026-03-04\n",
}  # fmt: skip
JSON = {"feodo": FEODO, "threatfox": THREATFOX, "urlhaus": URLHAUS, "abuseipdb": ABUSE, "greynoise": NOISE}


@pytest.mark.parametrize("name", WANTED)
@pytest.mark.parametrize("how", ["json", "csv", "lines"])
def test_exports_of_each_provider(name: str, how: str) -> None:
    if how == "lines":
        entries = JSON[name]["data"] if name in ("abuseipdb", "greynoise") else None  # type: ignore[index,call-overload]
        text = "\n".join(map(json.dumps, entries or [])) + "\n\n"
        text = text if entries else CSV[name]
    else:
        text = json.dumps(JSON[name]) if how == "json" else CSV[name]
    provider, found, _, beyond = said_of("\ufeff" + text, 100)
    assert (provider, len(found), beyond) == (name, 1, 0)
    (said,) = found
    assert said.address == f"203.0.113.{50 + list(WANTED).index(name)}"
    assert said.fields == {**WANTED[name], "providers": [name]}
    assert said.ts is None or 1_772_300_000 < said.ts < 1_772_700_000
    record = record_of("attacker.intel.enriched")
    assert record is not None
    record.parse({"attacker_ip": said.address, **said.fields})


def test_entries_that_cannot_be_read_are_counted_and_cost_themselves() -> None:
    entries: list[Any] = [
        None,
        {"other": 1},
        *FEODO,
        {"ip_address": "nonsense", "malware": "x"},
        {"ip_address": {}, "malware": []},
    ]
    provider, found, wrong, beyond = said_of(json.dumps(entries), 100)
    assert (provider, len(found), wrong, beyond) == ("feodo", 1, 4, 0)
    for score in (-1, 101, None, "x", [1]):
        text = json.dumps([{"ipAddress": "203.0.113.1", "abuseConfidenceScore": score}])
        assert said_of(text, 9)[2] == 1


def test_a_list_is_read_to_its_bound() -> None:
    def of(count: int) -> tuple[int, int]:
        entries = [{"ip_address": f"203.0.113.{i}", "malware": "x"} for i in range(count)]
        _, found, _, beyond = said_of(json.dumps(entries), 3)
        return len(found), beyond

    assert (of(3), of(4)) == ((3, 0), (3, 1))


@pytest.mark.parametrize(
    ("score", "verdict"), [(75, "malicious"), (74, "suspicious"), (25, "suspicious"), (24, "unknown")]
)
def test_scores_are_called_as_the_service_s_answers_are(score: int, verdict: str) -> None:
    text = json.dumps([{"ipAddress": "203.0.113.1", "abuseConfidenceScore": score}])
    assert said_of(text, 9)[1][0].fields["aggregate_verdict"] == verdict


def test_an_answer_with_reports_has_categories() -> None:
    reports = [{"categories": [18, 22, "x", 1000]}, {"categories": None}, "x"]
    text = json.dumps({"data": {"ipAddress": "203.0.113.1", "abuseConfidenceScore": 1, "reports": reports}})
    assert said_of(text, 9)[1][0].fields["abuseipdb_categories"] == [18, 22]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "{}",
        "[]",
        "[[[",
        '{"a": 1}',
        "a,b,c\n1,2,3\n",
        "# only a comment\n",
        "\0" * 100,
        '"',
        "{" * 50_000,
    ],
)
def test_other_texts_are_no_list(text: str) -> None:
    assert said_of(text, 100) == ("", [], 0, 0)
