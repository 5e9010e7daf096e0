"""Parts of messages at every bound, and messages that were made to take time or to hide something."""

from __future__ import annotations

import random
import time

import pytest

from decnet.bounds import BITES
from decnet.mail import mime
from decnet.mail.charsets import text_of
from tests.mailkit import archive, facts, message, mixed, part

SOON_S = 5.0
"""Far more than any message of a mebibyte takes; what is quadratic takes minutes."""
MIB = 2**20


def nested(depth: int, inner: bytes) -> bytes:
    """A part within so many others."""
    data = inner
    for level in range(depth):
        mark = f"b{level}".encode()
        data = b"Content-Type: multipart/mixed; boundary=" + mark + b"\r\n\r\n--" + mark + b"\r\n" + data
        data += b"\r\n--" + mark + b"--\r\n"
    return data


def leaves(data: bytes) -> list[mime.Part]:
    return mime.leaves(mime.whole(data))


def test_parts_are_taken_apart_whatever_ends_their_lines() -> None:
    for end in (b"\r\n", b"\n"):
        data = b"Content-Type: multipart/mixed; boundary=x\n\npre\n--x\n\none\n--x \t\nA: b\n\ntwo\n--xy\n--x--\nepilogue"
        whole = data.replace(b"\n", end)
        assert [one.raw for one in leaves(whole)] == [b"one", b"two" + end + b"--xy"]


def test_a_message_without_an_end_of_its_parts_has_them_all_the_same() -> None:
    data = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\none\r\n--x\r\n\r\ntwo"
    assert [one.raw for one in leaves(data)] == [b"one", b"two"]


@pytest.mark.parametrize("boundary", ["", "absent", "x" * 201])
def test_without_a_boundary_that_is_there_the_whole_is_one_part(boundary: str) -> None:
    data = f"Content-Type: multipart/mixed; boundary={boundary}\r\n\r\nbody".encode()
    assert [one.raw for one in leaves(data)] == [b"body"]


def test_a_line_that_is_no_header_ends_the_headers() -> None:
    (one,) = leaves(b"Subject: x\r\nno header\r\nhttp://one.example/\r\n\r\nbody")
    assert one.header("subject") == "x"
    assert one.raw.replace(b"\r\n", b"\n") == b"no header\nhttp://one.example/\n\nbody"


def test_parts_are_opened_to_a_depth_of_twenty() -> None:
    inner = part(b"x", "image/png", "a.lnk")
    assert facts(nested(20, inner))["attachment_extensions"] == ["lnk"]
    assert BITES[mime.DEPTH] == 0
    assert "attachment_extensions" not in facts(nested(21, inner))
    assert BITES[mime.DEPTH] == 1


def test_two_hundred_parts_are_looked_at() -> None:
    def of(count: int) -> int:
        return len(leaves(mixed(*[part(b"x", "image/png", "a.png")] * (count - 1))))

    assert of(200) == 199  # and the one that holds them
    assert BITES[mime.PARTS] == 0
    assert of(201) == 199
    assert BITES[mime.PARTS] == 1
    assert of(1200) == 199
    assert BITES[mime.PARTS] == 1001


def test_headers_of_one_part_are_read_to_a_length() -> None:
    def with_head(size: int) -> bytes:
        last = b"\r\nSubject: late"
        return b"X: ".ljust(size - len(last), b"x") + last + b"\r\n\r\nbody"

    assert facts(with_head(mime.MAX_HEAD))["subject"] == "late"
    assert BITES[mime.HEAD] == 0
    assert facts(with_head(mime.MAX_HEAD + 1))["subject"] == "lat"
    assert BITES[mime.HEAD] == 1


def test_a_message_in_a_message_is_opened_and_is_an_attachment() -> None:
    inner = mixed(part(b"x", "image/png", "a.iso"), boundary="in")
    told = facts(mixed(part(inner, "message/rfc822", encoding="")))
    assert (told["attachment_count"], told["attachment_extensions"]) == (2, ["iso"])


@pytest.mark.parametrize(
    "encoding", ["base64", "quoted-printable", "x-uuencode", "8bit", "nonsense", "base64, x"]
)
def test_broken_transfer_encodings_cost_nothing_else(encoding: str) -> None:
    data = mixed(part(b"a", "image/png", "a.png"), part(b"=\xff!!=3", "image/png", "b.lnk", encoding))
    assert facts(data)["attachment_extensions"] == ["png", "lnk"]


def test_charsets_of_mails_are_believed_and_no_others() -> None:
    assert text_of(b"\xfc", "ISO-8859-1") == text_of(b"\xfc", '"latin-1"') == "ü"
    assert text_of("ü".encode("utf-16"), "utf-16") == "ü"
    for name in (
        "punycode",
        "idna",
        "rot13",
        "zip",
        "unicode_escape",
        "raw_unicode_escape",
        "cp99999",
        "\0",
        "x" * 999,
    ):
        assert text_of("ü\\n".encode(), name) == "ü\\n"


SLOW = {
    "parts in parts": lambda: nested(3_000, b"\r\nx"),
    "one boundary, thousands of times": lambda: message(b"--b\r\n" * (MIB // 5), kind="multipart/mixed; boundary=b"),
    "a boundary of blanks": lambda: message((b"\r\n--b" + b" " * 2000) * 500, kind="multipart/mixed; boundary=b"),
    "open tags": lambda: message("<" * MIB, kind="text/html"),
    "open comments": lambda: message("<!--" * (MIB // 4), kind="text/html"),
    "open scripts": lambda: message("<script " * (MIB // 8), kind="text/html"),
    "scripts": lambda: message("<script>" * (MIB // 8), kind="text/html"),
    "references": lambda: message("&#" + "9" * MIB, kind="text/html"),
    "many references": lambda: message("&#x41;" * (MIB // 6), kind="text/html"),
    "punycode": lambda: message("a" * MIB, kind="text/plain; charset=punycode"),
    "one link": lambda: message("http://" + "a." * (MIB // 2)),
    "links": lambda: message("http://[" * (MIB // 8)),
    "hosts that are no ASCII": lambda: message("http://ä" * (MIB // 10)),
    "pay": lambda: message("pay " * (MIB // 4)),
    "recover": lambda: message("recover the " * (MIB // 12)),
    "base64": lambda: message("A" * MIB),
    "one address": lambda: message("x", "From: " + "(" * 60_000, "Return-Path: " + '"' * 60_000),
    "encoded words": lambda: message("x", "Subject: " + "=?" * 30_000, "X-Mailer: " + "=?utf-8?q?=?=" * 5000),
    "parameters": lambda: message("x", kind="multipart/mixed; " + 'a="\\";' * 10_000),
    "continuations": lambda: message("x", kind="text/plain; " + "".join(f"name*{i}*=%41;" for i in range(4000))),
    "headers": lambda: b"a:b\r\n" * (MIB // 5),
    "archives": lambda: mixed(*[part(b"PK\x03\x04" * 800, "application/zip", "a.zip")] * 190),
    "pages": lambda: mixed(part(b"new Blob(atob(" * (MIB // 24), "text/html", "a.html")),
    "quoted": lambda: message(b"=" * MIB, "Content-Transfer-Encoding: quoted-printable"),
}  # fmt: skip


@pytest.mark.parametrize("name", SLOW)
def test_no_mebibyte_takes_long(name: str) -> None:
    data = SLOW[name]()[:MIB]
    begun = time.monotonic()
    facts(data)
    assert time.monotonic() - begun < SOON_S


def test_mutated_messages_never_fail() -> None:
    rng = random.Random(7)
    seed = mixed(
        part("Grüße http://one.example".encode(), "text/plain; charset=utf-8"),
        part(archive("word/vbaProject.bin"), "application/zip", "a.docm"),
        part(mixed(part(b"<a>", "text/html"), boundary="in"), "message/rfc822", encoding=""),
    )
    for _ in range(2000):
        data = bytearray(seed)
        for _ in range(rng.randrange(1, 12)):
            place = rng.randrange(len(data))
            data[place : place + rng.randrange(4)] = rng.randbytes(rng.randrange(5))
        facts(bytes(data))
    for _ in range(500):
        facts(rng.randbytes(rng.randrange(300)))
