"""The mail decoy over real connections: the cases, every bound at its limit, hostile clients, and nothing that goes out."""

from __future__ import annotations

import ast
import asyncio
import base64
import hashlib
import socket
import ssl
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import decnet
from decnet.bounds import BITES
from decnet.config import load_settings
from decnet.decoys.listener import Place
from decnet.decoys.mail import certificate
from decnet.decoys.mail.events import message_event
from decnet.decoys.mail.folder import MailFolder
from decnet.decoys.mail.listener import FIGURES, JUDGED_AT_ONCE, MailListener, make_mail
from decnet.decoys.mail.peers import whose
from decnet.decoys.mail.receiving import receive
from decnet.errors import DatabaseError
from decnet.keyed import keyed_hash
from decnet.mail.badfiles import MAX_BYTES, known_bad
from decnet.mail.facts import BOUNDS
from tests.dbkit import KINDS, open_repo
from tests.mailkit import case, case_bytes, message, mixed, part
from tests.smtpkit import KEY, Client, decoy, sent, stuffed, text_of

PLAIN = base64.b64encode(b"\0test\0test").decode()


@pytest.mark.parametrize("kind", KINDS)
async def test_the_first_case_over_smtp(tmp_path: Path, kind: str) -> None:
    one = case("A1")
    said, expect = one["input"]["envelope"], one["expect"]
    async with decoy(tmp_path, kind) as mail:
        client = await mail.connect(greet=False)
        assert await client.answer() == "220 mail.localdomain ESMTP"
        await client.say(f"EHLO {said['helo']}")
        assert (await client.say(f"AUTH PLAIN {PLAIN}")).startswith("235")
        for _ in range(2):
            answer = await sent(client, case_bytes(one), *said["rcpt"], mail_from=said["mail_from"])
            assert answer.startswith("250 2.0.0 OK")
        await client.say("QUIT")
        events = await mail.events()
        credential, *mails = events
        assert [event.topic for event in mails] == ["email.received"] * 2
        assert len({event.id for event in events}) == 3
        for event in mails:
            has = {
                key: event.payload.get(key, 0)
                for key, value in expect["payload_has"].items()
                if value is not None
            }
            assert has == {key: value for key, value in expect["payload_has"].items() if value is not None}
            assert event.payload["source_id"] == event.id
            assert not [word for word in expect["never_in_payload"] if word in text_of([event])]
        assert credential.topic == "credential.captured"
        assert credential.payload["secret_hmac"] == keyed_hash(KEY, "password", "test")
        told = {
            key: credential.payload[key]
            for key in ("username", "secret_kind", "service", "success", "decky_id")
        }
        assert told == {
            "username": "test", "secret_kind": "password", "service": "smtp", "success": True, "decky_id": "mx-02",
        }  # fmt: skip
        assert "secret" not in credential.payload
        (file,) = mail.kept()
        assert file.name == f"{mails[0].payload['body_sha256']}.eml"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.read_bytes() == case_bytes(one)
        health = mail.listener.health()
        assert (health["mail_messages"], health["mail_kept"], health["mail_logins"]) == (2, 1, 1)


async def test_the_second_case_over_smtp(tmp_path: Path) -> None:
    one = case("A2")
    async with decoy(tmp_path) as mail:
        client = await mail.connect(greet=False)
        await client.answer()
        for _ in range(2):
            await client.say(f"EHLO {one['input']['envelope']['helo']}")
        await sent(client, case_bytes(one), "till@decoy.example", mail_from="cfo@board.example")
        leak, received = await mail.events()
        assert (leak.topic, leak.payload["type"]) == ("attacker.fingerprinted", "ipv6_leak")
        assert leak.payload["address"] == "fe80::1c2b:3aff:fe4d:5e6f"
        wanted = one["expect"]["payload_has"]
        assert {key: received.payload.get(key, False) for key in wanted} == wanted
        assert [path.name for path in mail.folder.rglob("*")] == [f"{received.payload['body_sha256']}.eml"]
        assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["mail", "mail-tls.pem"]


async def test_the_clear_text_of_a_secret_is_kept_only_when_that_is_wanted(tmp_path: Path) -> None:
    async with decoy(tmp_path, keep_clear=True) as mail:
        client = await mail.connect()
        assert await client.say("AUTH LOGIN") == f"334 {base64.b64encode(b'Username:').decode()}"
        assert await client.say(base64.b64encode(b"root")) == f"334 {base64.b64encode(b'Password:').decode()}"
        assert (await client.say(base64.b64encode(b"s\xff" * 600))).startswith("235")
        assert (await client.say(f"AUTH PLAIN {PLAIN}")).startswith("503")
        (told,) = await mail.payloads("credential.captured")
        assert (told["username"], len(told["secret"])) == ("root", 1024)


async def test_tls_is_offered_with_a_certificate_of_its_own_and_what_was_said_before_is_forgotten(
    tmp_path: Path,
) -> None:
    async with decoy(tmp_path) as mail:
        client = await mail.connect()
        # A command that came in the clear behind STARTTLS must not be obeyed within TLS.
        await client.send(b"STARTTLS\r\nRCPT TO:<injected@two.example>\r\n")
        assert (await client.answer()).startswith("220")
        try:
            await client.start_tls()
            assert (await client.say("EHLO again.example")).startswith("250")
            assert (await sent(client, message("over TLS"))).startswith("250")
            (told,) = await mail.payloads()
            assert (told["rcpt_count"], told["rcpt_domains"]) == (1, ["two.example"])
        except (ssl.SSLError, ConnectionError):
            assert await mail.events() == []  # the command was taken for a broken handshake
        await client.close()
        clean = await mail.connect()
        assert (await clean.say("STARTTLS")).startswith("220")
        await clean.start_tls()
        assert (await clean.say("EHLO again.example")).startswith("250")
        assert (await sent(clean, message("over TLS, too"))).startswith("250")
        assert "too" in mail.kept()[-1].read_text() or "too" in mail.kept()[0].read_text()
        await clean.close()
        path = tmp_path / "data" / certificate.FILE
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_broken_handshake_ends_its_connection_only(tmp_path: Path) -> None:
    async with decoy(tmp_path) as mail:
        client = await mail.connect()
        await client.say("STARTTLS")
        await client.send(b"no hello at all\r\n" * 10)
        assert await asyncio.wait_for(client.reader.read(), 10) is not None
        await client.close()
        await mail.figure("mail_inside", 0)
        assert (await sent(await mail.connect(), message("x"))).startswith("250")


async def test_a_message_of_the_greatest_size_is_taken_and_one_of_a_byte_more_is_not(tmp_path: Path) -> None:
    async with decoy(tmp_path, max_message_bytes=2048) as mail:
        fits = message("x").ljust(2046, b"x") + b"\r\n"
        client = await mail.connect()
        assert (await sent(client, fits)).startswith("250")
        assert (await sent(client, b"y" + fits)).startswith("552")
        assert (await client.say("MAIL FROM:<a@one.example> SIZE=2049")).startswith("552")
        assert (await sent(client, fits)).startswith("250")
        assert len(await mail.payloads()) == 2
        assert mail.listener.health()["mail_too_large"] == 1
        assert [path.stat().st_size for path in mail.kept()] == [2048]


async def test_twenty_thousand_recipients_are_counted_and_a_hundred_are_kept(tmp_path: Path) -> None:
    async with decoy(tmp_path) as mail:
        client = await mail.connect()
        await client.say("MAIL FROM:<a@one.example>")

        async def ask() -> None:
            for i in range(20_000):
                client.writer.write(b"RCPT TO:<u%d@h%d.example>\r\n" % (i, i))
                if i % 500 == 0:
                    await client.writer.drain()

        asking = asyncio.create_task(ask())
        for _ in range(20_000):
            assert (await client.answer()).startswith("250")
        await asking
        await client.say("DATA")
        await client.send(stuffed(message("x")))
        assert (await client.answer()).startswith("250")
        (told,) = await mail.payloads()
        assert (told["rcpt_count"], len(told["rcpt_domains"])) == (20_000, 100)
        assert mail.listener.health()["mail_recipients_beyond"] == 19_900


async def test_the_recipient_at_the_limit_is_kept(tmp_path: Path) -> None:
    async with decoy(tmp_path, max_recipients=2) as mail:
        client = await mail.connect()
        await sent(client, message("x"), "a@h1.example", "a@h2.example")
        assert mail.listener.health()["mail_recipients_beyond"] == 0
        await sent(client, message("x"), "a@h1.example", "a@h2.example", "a@h3.example")
        assert mail.listener.health()["mail_recipients_beyond"] == 1
        assert [one["rcpt_domains"] for one in await mail.payloads()] == [["h1.example", "h2.example"]] * 2


async def test_sixty_connections_of_one_peer_are_sixteen(tmp_path: Path) -> None:
    async with decoy(tmp_path) as mail:
        clients = [await mail.connect(greet=False) for _ in range(60)]
        greetings = [(await client.answer())[:3] for client in clients]
        assert greetings == ["220"] * 16 + ["421"] * 44
        assert mail.listener.health()["mail_refused"] == 44
        assert mail.listener.health()["mail_inside"] == 16
        for client in clients:
            await client.close()
        await mail.figure("mail_inside", 0)
        assert (await sent(await mail.connect(), message("x"))).startswith("250")


async def test_beyond_the_connections_of_all_one_more_is_refused(tmp_path: Path) -> None:
    async with decoy(tmp_path, max_connections=2) as mail:
        first, second = await mail.connect(), await mail.connect()
        third = await mail.connect(greet=False)
        assert (await third.answer()).startswith("421")
        await third.send(b"EHLO x\r\n" * 1000)
        assert await third.reader.read() == b""
        assert mail.listener.health()["mail_refused"] == 1
        await first.close()
        await mail.figure("mail_inside", 1)
        await mail.connect()
        await second.close()


def test_a_peer_is_an_address_and_of_ipv6_a_network() -> None:
    assert whose("203.0.113.1") == whose("::ffff:203.0.113.1") != whose("203.0.113.2")
    assert whose("2001:db8::1") == whose("2001:db8::ffff") != whose("2001:db8:0:1::1")
    assert whose("fe80::1%eth0") == "fe80::/64"
    assert whose("") == ""


async def test_a_connection_lasts_so_long_in_all_whatever_it_says(tmp_path: Path) -> None:
    async with decoy(tmp_path, session_s=0.6) as mail:
        silent, busy, reads_nothing = [await mail.connect() for _ in range(3)]

        async def chatter() -> str:
            while (answer := await busy.say("NOOP")).startswith("250"):
                await asyncio.sleep(0.05)
            return answer

        async def flood() -> None:
            with suppress(ConnectionError):
                while True:
                    reads_nothing.writer.write(b"HELP\r\n" * 10_000)
                    await reads_nothing.writer.drain()

        answer, said, _ = await asyncio.wait_for(asyncio.gather(chatter(), silent.answer(), flood()), 15)
        assert answer.startswith("421") or answer == ""
        assert said == "421 4.4.2 Connection timed out"
        await mail.figure("mail_timeouts", 3)
        await mail.figure("mail_inside", 0)


async def test_a_handshake_that_never_comes_frees_its_place(tmp_path: Path) -> None:
    async with decoy(tmp_path, session_s=0.5) as mail:
        silent, gone = await mail.connect(), await mail.connect()
        assert (await silent.say("STARTTLS")).startswith("220")
        await gone.send(b"STARTTLS\r\n")
        await gone.close()
        await mail.figure("mail_inside", 0)
        assert mail.listener.health()["mail_timeouts"] >= 1
        assert await silent.reader.read() is not None


async def test_a_message_that_never_ends_is_cut_with_its_connection(tmp_path: Path) -> None:
    async with decoy(tmp_path, session_s=0.5) as mail:
        client = await mail.connect()
        for line in ("MAIL FROM:<a@one.example>", "RCPT TO:<b@two.example>", "DATA"):
            await client.say(line)
        await client.send(b"Subject: slow\r\n")
        assert (await client.answer()).startswith("421")
        assert await mail.events() == []


async def test_a_connection_has_so_many_messages(tmp_path: Path) -> None:
    async with decoy(tmp_path, max_messages=2) as mail:
        client = await mail.connect()
        for number in range(2):
            assert (await sent(client, message(f"{number}"))).startswith("250")
        await client.say("MAIL FROM:<a@one.example>")
        await client.say("RCPT TO:<b@two.example>")
        assert (await client.say("DATA")).startswith("421")
        assert await client.answer() == ""
        assert mail.listener.health()["mail_messages_beyond"] == 1


async def test_a_full_folder_keeps_nothing_more_and_still_everything_is_judged(tmp_path: Path) -> None:
    one, two = message("one\r\n"), message("two\r\n")
    async with decoy(tmp_path, max_folder_bytes=len(one)) as mail:
        client = await mail.connect()
        assert (await sent(client, one)).startswith("250")
        assert (await sent(client, two)).startswith("452")
        assert (await sent(client, one)).startswith("250"), "it is there already"
        assert len(await mail.payloads()) == 3
        assert (len(mail.kept()), mail.listener.health()["mail_folder_full"]) == (1, 1)


async def test_a_folder_that_cannot_be_written_is_told_as_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    async with decoy(tmp_path) as mail:
        monkeypatch.setattr("os.fsync", broken)
        client = await mail.connect()
        with monkeypatch.context() as patched:
            patched.setattr(mail.listener.folder, "_write", broken)
            assert (await sent(client, message("one"))).startswith("452")
        assert mail.listener.health()["mail_folder_full"] == 1


def test_the_folder_counts_what_is_in_it_and_removes_what_was_not_finished(tmp_path: Path) -> None:
    folder = MailFolder(tmp_path / "mail", 10)
    folder.open()
    assert [folder.keep(name, b"12345") for name in ("a", "a", "b")] == ["kept", "known", "kept"]
    assert folder.keep("c", b"1") == "full"
    (tmp_path / "mail" / "d.new").write_bytes(b"half")
    (tmp_path / "mail" / "notes.txt").write_bytes(b"by the operator")
    again = MailFolder(tmp_path / "mail", 11)
    again.open()
    assert (again.bytes, again.keep("c", b"1"), again.keep("d", b"1")) == (10, "kept", "full")
    assert not (tmp_path / "mail" / "d.new").exists()
    assert stat.S_IMODE((tmp_path / "mail").stat().st_mode) == 0o700


async def test_a_database_that_refuses_means_try_again_and_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any) -> None:
        raise DatabaseError("disk full")

    async with decoy(tmp_path) as mail:
        client = await mail.connect()
        with monkeypatch.context() as patched:
            patched.setattr(mail.repo, "outbox_add_many", refuse)
            assert (await sent(client, message("x"))).startswith("451")
            assert (await client.say("EHLO [IPv6:fe80::1]")).startswith("250")
        assert mail.kept() == []
        assert mail.listener.health()["mail_not_stored"] == 2
        await client.say("EHLO [IPv6:fe80::1]")
        assert (await sent(client, message("x"))).startswith("250")
        assert [event.topic for event in await mail.events()] == ["attacker.fingerprinted", "email.received"]


SMUGGLED = (
    b"MAIL FROM:<evil@one.example>\r\nRCPT TO:<victim@two.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n"
)


@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\n.\r\n.\n", b"\r\n\0.\r\n"]
)
async def test_nothing_but_a_dot_between_two_line_ends_ends_a_message(tmp_path: Path, end: bytes) -> None:
    async with decoy(tmp_path) as mail:
        client = await mail.connect()
        await client.say("MAIL FROM:<a@one.example>")
        await client.say("RCPT TO:<b@two.example>")
        await client.say("DATA")
        await client.send(b"Subject: first\r\n\r\nhello" + end + SMUGGLED + b".\r\n")
        assert (await client.answer()).startswith("250")
        assert (await client.say("NOOP")).startswith("250")
        assert [one["subject"] for one in await mail.payloads()] == ["first"]
        (file,) = mail.kept()
        said = b"Subject: first\r\n\r\nhello" + end + SMUGGLED
        assert file.read_bytes() == said.replace(b"\r\n.", b"\r\n"), (
            "a dot at the start of a line is the protocol's"
        )


async def text(data: bytes, limit: int = 10_000, reads: int = 1 << 20) -> tuple[bytes | None, bytes]:
    """What is received of some bytes, and what is left."""
    reader = asyncio.StreamReader(limit=64)
    for i in range(0, len(data), reads):
        reader.feed_data(data[i : i + reads])
    reader.feed_eof()
    return await receive(reader, limit), await reader.read()


async def test_the_text_of_a_message_is_received_byte_for_byte_whatever_its_lines_are_like() -> None:
    long = b"x" * 1000
    for body in (
        b"",
        b"a\r\n",
        b".\r\n..\r\n.a\r\n",
        long + b"\r\n." + long + b"\r\n",
        b"\r" * 63 + b"\r\n",
        b"a\nb\r\n",
    ):
        assert await text(stuffed(body) if body else b".\r\n") == (body, b"")
    for at in range(55, 75):  # a dot or a line end around the place where a long line is cut
        body = b"x" * at + b".\r\n" + b"y" * at + b"\r\n"
        assert await text(stuffed(body) + b"QUIT\r\n") == (body, b"QUIT\r\n")


async def test_a_dot_at_the_end_of_a_long_line_ends_nothing_however_it_comes_in() -> None:
    reader = asyncio.StreamReader(limit=64)
    task = asyncio.create_task(receive(reader, 10_000))
    for piece in (b"x" * 200 + b".", b"\r\nmore\r\n", b".\r\n"):
        reader.feed_data(piece)
        for _ in range(5):
            await asyncio.sleep(0)
    assert await asyncio.wait_for(task, 5) == b"x" * 200 + b".\r\nmore\r\n"


async def test_a_message_that_is_too_long_is_read_to_its_end() -> None:
    assert await text(stuffed(b"12345678\r\n"), limit=10) == (b"12345678\r\n", b"")
    assert await text(stuffed(b"123456789\r\n") + b"QUIT", limit=10) == (None, b"QUIT")
    assert await text(stuffed(b"x" * 500 + b"\r\n" + b"y\r\n") + b"QUIT", limit=10) == (None, b"QUIT")
    with pytest.raises(asyncio.IncompleteReadError):
        await text(b"no end\r\n")


async def test_a_message_that_came_whole_counts_though_its_sender_has_gone(tmp_path: Path) -> None:
    """Whoever sends all of it at once and hangs up is judged like everybody."""
    dialogue = b"EHLO x\r\nMAIL FROM:<a@one.example>\r\nRCPT TO:<b@two.example>\r\nDATA\r\n" + stuffed(
        message("gone")
    )
    async with decoy(tmp_path) as mail:
        for number in (1, 2):
            client = await mail.connect(greet=False)
            await client.send(dialogue)
            if number == 1:
                client.writer.write_eof()
            else:
                await client.close()
            await mail.figure("mail_messages", number)
            await client.close()
        await mail.figure("mail_inside", 0)
        assert len(await mail.payloads()) == 2
        secure = await mail.connect()
        await secure.say("STARTTLS")
        await secure.start_tls()
        await secure.send(dialogue)
        await secure.close()
        await mail.figure("mail_messages", 3)
        await mail.figure("mail_inside", 0)


async def test_who_has_gone_gets_no_answers_and_fills_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with decoy(tmp_path) as mail:
        client = await mail.connect(greet=False)
        await client.send(b"EHLO x\r\n" + b"NOOP\r\n" * 500)
        client.writer.transport.abort()  # type: ignore[attr-defined]
        await mail.figure("mail_connections", 1)
        await mail.figure("mail_inside", 0)
        assert len([one for one in caplog.records if one.name == "asyncio"]) < 5


async def test_so_many_messages_are_judged_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, most, lock = 0, 0, threading.Lock()

    def slow(*args: Any) -> Any:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        return message_event(*args)

    monkeypatch.setattr("decnet.decoys.mail.listener.message_event", slow)
    async with decoy(tmp_path) as mail:
        clients = [await mail.connect() for _ in range(8)]
        answers = await asyncio.gather(*(sent(one, message(f"{i}")) for i, one in enumerate(clients)))
    assert all(answer.startswith("250") for answer in answers)
    assert most == JUDGED_AT_ONCE


async def test_a_stop_waits_for_a_message_that_is_being_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with decoy(tmp_path) as mail:
        held, real = asyncio.Event(), mail.repo.outbox_add_many

        async def slow(events: Any) -> None:
            held.set()
            await asyncio.sleep(0.3)
            await real(events)

        monkeypatch.setattr(mail.repo, "outbox_add_many", slow)
        client = await mail.connect()
        sending = asyncio.create_task(sent(client, message("late")))
        await held.wait()
        await mail.listener.stop()
        assert not (await sending).startswith("250 2.0.0")
        assert len(await mail.payloads()) == 1
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", mail.listener.settings.port)


async def test_bombs_are_counted_and_cost_their_own_message_only(tmp_path: Path) -> None:
    deep = b"x"
    for level in range(25):
        mark = f"b{level}".encode()
        deep = b"Content-Type: multipart/mixed; boundary=" + mark + b"\r\n\r\n--" + mark + b"\r\n" + deep
    wide = mixed(*[part(b"x", "image/png", "a.png")] * 300)
    async with decoy(tmp_path) as mail:
        client = await mail.connect()
        for data in (deep + b"\r\n", wide):
            assert (await sent(client, data)).startswith("250")
        health = mail.listener.health()
        assert (health["mail_depth_capped"], health["mail_parts_capped"]) == (1, 101)


async def test_garbage_of_every_kind_ends_its_connection_only(tmp_path: Path) -> None:
    noise = [
        b"\0" * 5000 + b"\r\n", b"\xff\xfe\r\n" * 20, b"MAIL FROM:" + b"(" * 2000 + b"\r\n", b"X" * 100_000 + b"\r\n",
        b"AUTH LOGIN\r\n" + b"=" * 5000 + b"\r\n", b"AUTH PLAIN =\r\n", b"AUTH PLAIN\r\n*\r\n", b"VRFY \xed\xa0\x80\r\n",
        b"RCPT TO:<x>\r\n" * 50, b"DATA\r\n", b"EHLO\r\nHELO\r\nRSET x\r\nQUIT x\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01", b"BDAT 5 LAST\r\nhello", b"MAIL FROM:<a@b> SIZE=" + b"9" * 1900 + b"\r\n",
    ]  # fmt: skip
    async with decoy(tmp_path) as mail:
        for data in noise:
            client = await mail.connect()
            await client.send(data)
            client.writer.write_eof()
            answers = await asyncio.wait_for(client.reader.read(), 15)
            assert b"Error: (" not in answers, "no fault of a program is shown"
            assert b"Python" not in answers
            await client.close()
        await mail.figure("mail_inside", 0)
        assert (await sent(await mail.connect(), message("x"))).startswith("250")


async def test_nothing_that_it_says_names_a_product(tmp_path: Path) -> None:
    async with decoy(tmp_path) as mail:
        client = await mail.connect(greet=False)
        said = b"EHLO x\r\nHELP\r\nHELP DATA\r\nVRFY a@b\r\nNOOP\r\nNONSENSE\r\nRSET\r\nHELO x\r\nQUIT\r\n"
        await client.send(said)
        answers = (await asyncio.wait_for(client.reader.read(), 10)).decode().lower()
        assert answers.startswith("220 mail.localdomain esmtp\r\n")
        assert not [word for word in ("python", "aiosmtpd", "decnet", "honeypot", "decoy") if word in answers]


async def test_health_names_every_figure_and_every_bound_of_messages(tmp_path: Path) -> None:
    async with decoy(tmp_path) as mail:
        assert set(mail.listener.health()) == {*FIGURES, *BOUNDS, "mail_inside"}
        BITES[BOUNDS[0]] = 7
        assert mail.listener.health()[BOUNDS[0]] == 7


async def test_nothing_listens_unless_it_is_turned_on(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    async with open_repo("sqlite", tmp_path) as repo:
        assert make_mail(Place(settings, repo, KEY)) is None
    assert settings.decoys.mail.host == "127.0.0.1"
    assert not (tmp_path / "mail").exists()


async def test_a_port_that_is_taken_is_an_error_and_can_be_tried_again(tmp_path: Path) -> None:
    async with decoy(tmp_path) as mail:
        settings = mail.listener._place.settings
        other = MailListener(Place(settings, mail.repo, KEY))
        with pytest.raises(OSError):
            await other.start()
        await other.stop()
        await mail.listener.stop()
        await other.start()
        await other.stop()
        await mail.listener.start()


async def test_no_connection_is_ever_opened_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tried = socket.socket.connect, []

    def refuse(*args: Any, **_: Any) -> None:
        tried.append(args)
        raise AssertionError("something goes out")

    async with decoy(tmp_path) as mail:
        client = await mail.connect()
        loop = asyncio.get_running_loop()
        for owner, name in (
            (socket.socket, "connect"), (socket.socket, "connect_ex"), (socket, "getaddrinfo"), (socket, "getfqdn"),
            (loop, "create_connection"), (loop, "sock_connect"), (loop, "getaddrinfo"),
        ):  # fmt: skip
            monkeypatch.setattr(owner, name, refuse)
        answer = await sent(client, case_bytes(case("A1")), "victim@elsewhere.example")
        assert answer.startswith("250")
        assert (await client.say("STARTTLS")).startswith("220")
        await client.close()
        assert tried == []
        monkeypatch.undo()
        assert socket.socket.connect is real


def test_no_code_of_the_decoy_could_send_anything() -> None:
    root = Path(decnet.__file__).parent
    names: set[str] = set()
    for path in [*(root / "decoys" / "mail").rglob("*.py"), *(root / "mail").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names |= {node.attr} if isinstance(node, ast.Attribute) else set()
            names |= {node.id} if isinstance(node, ast.Name) else set()
            if isinstance(node, ast.ImportFrom):
                names |= {str(node.module), *(alias.name for alias in node.names)}
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
    out = {"smtplib", "socket", "http", "urllib.request", "httpx", "open_connection", "create_connection", "connect",
           "sendto", "create_datagram_endpoint", "subprocess", "aiosmtpd.handlers", "aiosmtpd.controller"}  # fmt: skip
    assert not names & out


def test_a_certificate_is_made_once_and_anew_for_another_host_or_when_it_ends(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    path, now = tmp_path / "data" / certificate.FILE, datetime(2026, 3, 1, tzinfo=UTC)

    def made(host: str, moment: datetime) -> str:
        certificate.tls_context(path.parent, host, moment)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        return hashlib.sha256(path.read_bytes()).hexdigest()

    first = made("a.example", now)
    assert made("a.example", now + certificate.LASTS - certificate.EARLY * 1.01) == first
    second = made("b.example", now)
    assert second != first
    third = made("b.example", now + certificate.LASTS - certificate.EARLY)
    assert third != second
    path.write_bytes(b"no certificate")
    assert made("b.example", now) not in (first, second, third)
    assert [file.name for file in path.parent.iterdir()] == [certificate.FILE]


async def test_hashes_of_bad_files_are_read_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(b"evil").hexdigest()
    path = tmp_path / "bad.txt"
    path.write_text(f"# known\n{digest.upper()}  evil.png\nnot a hash\n{'a' * 63}\n")
    assert known_bad(path) == {digest}
    assert known_bad(None) == frozenset()
    async with decoy(tmp_path, known_bad=path) as mail:
        client = await mail.connect()
        await sent(client, mixed(part(b"evil", "image/png", "a.png")))
        assert (await mail.payloads())[0]["mal_hash_match"] is True
    monkeypatch.setattr("decnet.mail.badfiles.MAX_BYTES", path.stat().st_size - 1)
    with pytest.raises(OSError, match="bytes of hashes"):
        known_bad(path)
    assert MAX_BYTES > 2**20


def test_a_client_is_a_client() -> None:
    """The kit's dot stuffing is the protocol's."""
    assert stuffed(b".a\r\nb\r\n") == b"..a\r\nb\r\n.\r\n"
    assert Client
