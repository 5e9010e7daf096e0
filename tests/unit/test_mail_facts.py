"""What the bytes of a message say: the cases of mail, each field and each rule from bytes, and nothing beside."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from decnet.bounds import BITES
from decnet.events.email import Received
from decnet.ids import attacker_id
from decnet.mail import files, mime, words
from decnet.mail.facts import BOUNDS, Envelope, body_hash, domain_of, link_local, received
from decnet.ttp.lifter_registry import lift_one
from tests.mailkit import (
    PEER,
    archive,
    case,
    case_bytes,
    case_envelope,
    facts,
    message,
    mixed,
    part,
)
from tests.ruledrive import shipped

MAIL_RULES = {rule.rule_id: rule for rule in shipped() if "email" in rule.applies_to and rule.lifter}
PAGE = b'<script>var b=new Blob([atob("TVqQ")]);a.download="i.iso"</script>'
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 64


def rules_of(payload: dict[str, Any]) -> set[str]:
    """The rules about mail that a payload fires."""
    return {name for name, rule in MAIL_RULES.items() if lift_one(rule, payload) is not None}


@pytest.mark.parametrize("name", ["A1", "A2"])
def test_the_cases_of_mail(name: str) -> None:
    one = case(name)
    expect = one["expect"]
    payload = received(case_bytes(one), case_envelope(one)).said(dict.fromkeys(expect["payload_has"], 0))
    assert {key: payload[key] for key in expect["payload_has"]} == expect["payload_has"]
    assert not [word for word in expect.get("never_in_payload", ()) if word in json.dumps(payload)]
    again = {**payload, "simhash_age_s": 400.0} if name == "A1" else payload
    wanted = {rule for rule in expect["rules"] if rule in MAIL_RULES}
    assert rules_of(again) == wanted
    assert not wanted & set(expect["no_rules"])


def test_the_greeting_of_the_second_case_gives_a_link_local_address_away() -> None:
    assert link_local(case("A2")["input"]["envelope"]["helo"]) == "fe80::1c2b:3aff:fe4d:5e6f"


@pytest.mark.parametrize(
    ("helo", "found"),
    [
        ("[IPv6:FE80::1%eth0]", "fe80::1"),
        ("fe80::1", "fe80::1"),
        ("[IPv6:febf::1]", "febf::1"),
        ("[IPv6:fec0::1]", None),
        ("[IPv6:2001:db8::1]", None),
        ("[169.254.1.1]", None),
        ("mail.example", None),
        ("", None),
        ("[IPv6:" + ":" * 5000 + "]", None),
    ],
)
def test_only_link_local_addresses_of_ipv6_are_a_leak(helo: str, found: str | None) -> None:
    assert link_local(helo) == found


def test_every_rule_about_mail_is_reached_from_bytes() -> None:
    phish = b"Return-Path: <b@two.example>\r\nX-Mailer: gophish\r\n" + message(
        "invoice: http://xn--pypal-4ve.example/", "Subject: overdue invoice"
    )
    told = received(phish, Envelope(PEER, mail_from="b@two.example", rcpt_count=25)).build()
    bad = facts(mixed(part(archive("word/vbaProject.bin") + b"", "application/zip", "a.docm")))
    ransom = facts(message("Pay the ransom to 1BoatSLRHtKNngkdXEeobR76b53LETtpyT"))
    packed = facts(message("A" * 5464))
    found = rules_of({**told, "simhash_age_s": 1.0}) | rules_of(bad) | rules_of(ransom) | rules_of(packed)
    assert found == set(MAIL_RULES)
    assert rules_of(facts(message("hello", "Subject: minutes of the meeting"))) == set()


def test_a_record_has_who_sent_it_and_parses() -> None:
    made = received(message("x"), Envelope("::ffff:203.0.113.9", "mx-1", mail_from="<>"), "mail-1")
    assert (made.attacker_ip, made.attacker_uuid) == (PEER, attacker_id(PEER))
    assert (made.decky_id, made.service, made.source_id) == ("mx-1", "smtp", "mail-1")
    assert Received.parse(made.build()) == made


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("Desk <Desk@ONE.example.>", "one.example"),
        ('"a@evil.example" <b@one.example>', "one.example"),
        ("a@one.example, b@two.example", "one.example"),
        ("=?utf-8?q?a=40b?= <c@pä.example>", "xn--p-0fa.example"),
        ("nobody", ""),
        ("<>", ""),
        ("a@", ""),
        ("a@[203.0.113.5]", ""),
        ("(" * 2000 + " a@one.example", "one.example"),
        ("a@" + "x" * 300, ""),
        ("a@one.example\x00b", ""),
    ],
)
def test_the_domain_of_an_address(header: str, found: str) -> None:
    assert domain_of(header) == found


def test_recipients_are_counted_and_only_their_domains_are_told() -> None:
    told = facts(
        message("x"), rcpt_count=20_000, rcpts=["a@two.example", "b@ONE.example", "c@one.example", "d"]
    )
    assert (told["rcpt_count"], told["rcpt_domains"]) == (20_000, ["one.example", "two.example"])
    many = facts(message("x"), rcpts=[f"a@h{i}.example" for i in range(101)])
    assert len(many["rcpt_domains"]) == 100


def test_headers_are_decoded_and_cut() -> None:
    told = facts(message("x", "Subject: =?iso-8859-1?q?Gr=FC=DFe?=\r\n und mehr", f"X-Mailer: {'m' * 300}"))
    assert (told["subject"], len(told["x_mailer"])) == ("Grüße und mehr", 200)
    assert len(facts(message("x", f"Subject: {'s' * 2000}"))["subject"]) == 998
    assert facts(message("x", "Subject: =?utf-8?b?!!!?= =?none?q?a?="))["subject"]
    assert facts(message("x", "Subject: a\x00b"))["subject"] == "a\ufffdb"


def test_a_signature_is_seen_and_not_judged() -> None:
    signed = facts(message("x", "DKIM-Signature: v=1; d=one.example"))
    assert signed["dkim_signed"] is True
    assert facts(message("x"))["dkim_signed"] is False
    assert not {"dkim_pass", "spf_pass"} & signed.keys()


def test_hosts_of_links_are_told_and_a_broken_link_costs_itself() -> None:
    text = (
        "http://one.example/a https://user@TWO.example:8443/b?c#d ftp://three.example. "
        "http://[::1 http://[2001:db8::7]/x http:///none https://bücher.example/, (http://203.0.113.5/i) "
        "http://one.example/again http://" + "x" * 300 + "/ http://a\u2100b.example/ http://last.example"
    )
    assert facts(message(text))["urls"] == [
        "one.example", "two.example", "three.example", "xn--bcher-kva.example", "203.0.113.5", "last.example",
    ]  # fmt: skip
    assert BITES[words.BROKEN] == 4


def test_links_of_pages_are_found_in_their_attributes() -> None:
    page = (
        "<a href=\"https&#58;//one.example/x\">http://two.example</a><img src='http://three.example/p.gif'>"
    )
    told = facts(message(page, kind="text/html"))
    assert told["urls"] == ["one.example", "two.example", "three.example"]


def test_very_many_links_are_counted() -> None:
    assert len(facts(message(" ".join(f"http://h{i}.example" for i in range(200))))["urls"]) == 200
    assert BITES[words.LINKS] == 0
    assert len(facts(message(" ".join(f"http://h{i}.example" for i in range(201))))["urls"]) == 200
    assert BITES[words.LINKS] == 1
    same = " ".join(["http://a.example"] * 2000)
    assert facts(message(same))["urls"] == ["a.example"]
    assert BITES[words.LINKS] == 1
    assert facts(message(f"{same} http://late.example"))["urls"] == ["a.example"]
    assert BITES[words.LINKS] == 2


MARKED = {
    "ransom": "this is a ransom note", "decrypt": "to decrypt them", "bitcoin": "send 1 BTC", "monero": "or XMR",
    "wallet": "to my wallet", "pay_to_recover": "you must pay us if you want to recover it",
    "btc_address": "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "xmr_address": "4" + "A" * 94,
    "wire_transfer": "a wire\r\n transfer", "bank_details": "your IBAN", "gift_card": "buy gift cards", "payroll": "payroll",
    "invoice": "the invoice", "urgent": "Urgently!", "confidential": "keep it confidential",
    "change_of_account": "we changed our bank account",
}  # fmt: skip


@pytest.mark.parametrize(("marker", "text"), MARKED.items())
def test_each_marker_is_found_in_text_and_in_pages(marker: str, text: str) -> None:
    assert facts(message(text))["body_markers"] == [marker]
    assert facts(message(f"<p>{text}</p><!-- -->", kind="text/html"))["body_markers"] == [marker]
    assert "body_markers" not in facts(message("minutes of the meeting on Tuesday"))


def test_markers_stand_in_the_order_of_the_list_and_ignore_what_nobody_sees() -> None:
    assert facts(message("urgent ransom"))["body_markers"] == ["ransom", "urgent"]
    hidden = "<style>.ransom{}</style><script>ransom</script>hello"
    assert "body_markers" not in facts(message(hidden, kind="text/html"))


def test_bodies_of_the_same_words_share_a_hash_whatever_numbers_are_in_them() -> None:
    one, two = (facts(message(f"Your order {n} is on its way to you", f"Subject: {n}")) for n in (1, 2))
    other = facts(message("Please pay the attached invoice today"))
    assert one["body_simhash"] == two["body_simhash"] != other["body_simhash"]
    assert one["body_sha256"] != two["body_sha256"]
    assert len(one["body_simhash"]) == 16
    empty = facts(b"From: a@one.example\r\n\r\n")
    assert not {"body_simhash", "body_sha256"} & empty.keys()


def test_the_hash_of_a_body_is_of_its_bytes() -> None:
    data = message("body\r\n")
    assert facts(data)["body_sha256"] == hashlib.sha256(b"body\r\n").hexdigest() == body_hash(data)
    assert body_hash(b"Subject: x") == hashlib.sha256(b"Subject: x").hexdigest()


def test_base64_is_counted_in_parts_and_in_text() -> None:
    assert facts(mixed(part(b"x" * 100, "image/png", "a.png")))["body_base64_bytes"] == 100
    assert facts(message("A" * 40))["body_base64_bytes"] == 30
    assert "body_base64_bytes" not in facts(message("A" * 39))
    lines = "\r\n".join(["QUJD" * 19] * 10)
    assert facts(message(lines))["body_base64_bytes"] == 570


def test_attachments_are_hashed_and_named_by_their_extension_only() -> None:
    parts = [part(b"one", "image/png", "../../a.PNG"), part(b"one", "text/plain", "b.tar.gz "),
             part(b"two", "application/pdf")]  # fmt: skip
    told = facts(mixed(part(b"text", "text/plain"), *parts))
    assert told["attachment_count"] == 3
    assert told["attachment_sha256s"] == [hashlib.sha256(x).hexdigest() for x in (b"one", b"two")]
    assert told["attachment_extensions"] == ["png", "gz"]
    many = facts(mixed(*(part(b"%d" % i, "image/png", f"a.x{i}") for i in range(101))))
    assert (many["attachment_count"], len(many["attachment_sha256s"])) == (101, 100)
    assert len(many["attachment_extensions"]) == 100


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.DOCM", "docm"),
        ("a.pdf.exe", "exe"),
        ("a.exe. .", "exe"),
        ("c:\\x.y\\noend", ""),
        ("../x.y/noend", ""),
        (".hidden", ""),
        ("a.", ""),
        ("a.tooolonganend", ""),
        ("a.e\u202ee", ""),
        ("", ""),
    ],
)
def test_the_extension_of_a_file(name: str, found: str) -> None:
    assert files.extension(name) == found


def test_names_in_both_encodings_are_read() -> None:
    mimed = part(b"x", "image/png", "=?utf-8?q?a=2Elnk?=")
    split = part(b"x", "image/png; name*0*=utf-8''b%2E; name*1=iso")
    assert facts(mixed(mimed, split))["attachment_extensions"] == ["lnk", "iso"]


@pytest.mark.parametrize(
    ("data", "macros", "locked"),
    [
        (archive("word/document.xml", "word/vbaProject.bin"), True, False),
        (archive("xl/VBAPROJECT.BIN"), True, False),
        (archive("xl/macrosheets/sheet1.xml"), True, False),
        (archive("Basic/Standard/Module1.xml"), True, False),
        (archive("word/document.xml"), False, False),
        (archive("a.txt", "b.txt", locked=True), False, True),
        (archive("word/vbaProject.bin")[:-30], True, False),
        (archive("a.txt", locked=True)[:-30], False, True),
        (b"#!/bin/sh stub\n" + archive("word/vbaProject.bin"), True, False),
        (OLE + "_VBA_PROJECT".encode("utf-16-le"), True, False),
        (OLE + "EncryptedPackage".encode("utf-16-le"), False, True),
        (OLE, False, False),
        (b"Rar!\x1a\x07\x01\x00" + b"\0" * 5 + b"\x04" + b"\0" * 20, False, True),
        (b"Rar!\x1a\x07\x01\x00" + b"\0" * 5 + b"\x01" + b"\0" * 20, False, False),
        (b"Rar!\x1a\x07\x00" + b"\0" * 3 + b"\x80" + b"\0" * 20, False, True),
        (b"Rar!\x1a\x07\x00" + b"\0" * 15 + b"\x74\x04\0\0\0\0", False, True),
        (b"Rar!\x1a\x07\x00", False, False),
        (b"%PDF-1.7 /Encrypt 5 0 R", False, True),
        (b"%PDF-1.7", False, False),
        (b"vbaProject.bin", False, False),
        (b"PK", False, False),
        (b"", False, False),
    ],
    ids=lambda value: f"{len(value)}-{value[:4].hex()}" if isinstance(value, bytes) else str(value),
)
def test_macros_and_passwords_of_files(data: bytes, macros: bool, locked: bool) -> None:
    assert files.look(data) == (macros, locked)
    told = facts(mixed(part(data, "application/octet-stream", "a.bin")))
    assert told.get("attachment_macros", False) is macros
    assert told.get("attachment_password_protected", False) is locked


def test_a_padded_list_of_an_archive_is_not_read_and_hides_nothing() -> None:
    def padded(size: int) -> bytes:
        data = bytearray(archive("word/vbaProject.bin"))
        data[-10:-6] = size.to_bytes(4, "little")
        return bytes(data)

    files.look(padded(files.MAX_LIST))
    assert BITES[files.LISTS] == 0
    assert files.look(padded(files.MAX_LIST + 1)).macros
    assert BITES[files.LISTS] == 1


def test_an_archive_of_a_bomb_is_listed_and_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    def unpack(*_: Any, **__: Any) -> None:
        raise AssertionError("an archive was unpacked")

    data = archive("bomb.bin")
    monkeypatch.setattr("zipfile.ZipFile.open", unpack)
    monkeypatch.setattr("zlib.decompressobj", unpack)
    assert files.look(data) == (False, False)


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (PAGE, True),
        (b"x=new File([Uint8Array.from(y)]);navigator.msSaveBlob(x)", True),
        (PAGE.replace(b"atob", b"blah"), False),
        (PAGE.replace(b".download", b".hidden"), False),
        (PAGE.replace(b"new Blob", b"new Bag"), False),
    ],
)
def test_pages_that_make_files(page: bytes, found: bool) -> None:
    assert files.smuggles(page) is found
    assert facts(message(page, kind="text/html")).get("html_smuggling", False) is found
    assert facts(mixed(part(page, "image/svg+xml", "a.svg"))).get("html_smuggling", False) is found
    assert facts(mixed(part(page, "application/octet-stream", "a.HTM"))).get("html_smuggling", False) is found
    assert "html_smuggling" not in facts(mixed(part(page, "application/octet-stream", "a.bin")))


def test_a_file_that_is_known_to_be_bad_is_told() -> None:
    data, bad = mixed(part(b"evil", "image/png", "a.png")), {hashlib.sha256(b"evil").hexdigest()}
    assert received(data, Envelope(PEER), None, bad).mal_hash_match
    assert not received(data, Envelope(PEER), None, {"x"}).mal_hash_match


def test_the_bounds_are_those_that_health_names() -> None:
    assert set(BOUNDS) == {
        mime.DEPTH, mime.PARTS, mime.HEAD, files.LISTS, words.BROKEN, words.LINKS
    }  # fmt: skip
