"""The ways to other systems, with real servers on loopback: what they get, byte by byte, and what counts as taken."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from decnet.bus.base import Event
from decnet.publish_settings import FileSettings, SyslogSettings, WebhookSettings
from decnet.runtime.publish import files as files_module
from decnet.runtime.publish.files import JsonFile
from decnet.runtime.publish.messages import Message, NotDelivered
from decnet.runtime.publish.syslog import MAX_DATAGRAM, Syslog, line_of
from decnet.runtime.publish.webhook import MAX_HEAD, Webhook, signature
from tests.httpkit import Server, reply, serving
from tests.tlskit import certificate

SECRET = "0123456789abcdef-shared"
HOSTILE = '\x1b]0;x\x07\u202e"\r\n<134>1 - forged\x00\ud800'


def message(number: int = 1, **payload: Any) -> Message:
    return Message.of(
        "notice.disk_full", {"n": number, **payload}, 1_700_000_000.5, f"id-{number}", "disk_full"
    )


class Hook:
    """A receiver with a certificate of its own authority."""

    def __init__(self, server: Server, authority: Path) -> None:
        self.server, self.authority = server, authority

    def channel(self, path: str = "/hook", **more: Any) -> Webhook:
        given = {"url": SecretStr(self.server.base + path), "private": True, "tls_ca": self.authority, **more}
        return Webhook(
            WebhookSettings(kind="webhook", name="soc", secret=SecretStr(SECRET), **given),
            lambda: 1_700_000_100.9,
        )


@asynccontextmanager
async def hook(folder: Path, **answers: Any) -> AsyncIterator[Hook]:
    authority, own, key = certificate(folder / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own, key)
    async with serving({f"/{name}": answer for name, answer in answers.items()}, context) as server:
        yield Hook(server, authority)


async def test_a_message_is_posted_signed_and_whole(tmp_path: Path) -> None:
    async with hook(tmp_path, **{"hook?x=1": reply(204)}) as receiver:
        await receiver.channel("/hook?x=1").send([message(1, text=HOSTILE), message(2)])
        first, second = receiver.server.asked
    assert (first.method, first.target) == ("POST", "/hook?x=1")
    assert first.headers["content-type"] == "application/json"
    assert first.headers["x-decnet-id"] == "id-1"
    assert second.headers["x-decnet-id"] == "id-2"
    at, _, given = first.headers["x-decnet-signature"].removeprefix("t=").partition(",v1=")
    assert at == "1700000100"
    assert hmac.new(SECRET.encode(), f"{at}.{first.body}".encode(), hashlib.sha256).hexdigest() == given
    assert (
        signature("other secret of some length", first.body, int(at)) != first.headers["x-decnet-signature"]
    )
    whole = json.loads(first.body)
    assert first.body.isascii()
    assert whole["payload"]["text"] == HOSTILE.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
    assert whole | {"payload": {}} == {
        "v": 1, "id": "id-1", "topic": "notice.disk_full", "type": "disk_full", "ts": 1_700_000_000.5, "payload": {},
    }  # fmt: skip


async def closes(writer: asyncio.StreamWriter) -> None:
    """No answer at all."""


async def talks_nonsense(writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")


async def talks_for_ever(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"a" * (2 * MAX_HEAD))
    await writer.drain()
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("answer", "why", "final", "wait_s"),
    [
        (reply(500), "answer 500", False, None),
        (reply(429, Retry_After="17"), "answer 429", False, 17.0),
        (reply(503, Retry_After="9" * 11), "answer 503", False, 86_400.0),
        (reply(503, Retry_After="soon"), "answer 503", False, None),
        (reply(401), "answer 401", False, None),
        (reply(400), "answer 400", True, None),
        (reply(413), "answer 413", True, None),
        (reply(422), "answer 422", True, None),
        (reply(302, Location="https://127.0.0.1/secret"), "redirect, which is not followed 302", False, None),
        (closes, "closed|no HTTP", False, None),
        (talks_nonsense, "no HTTP", False, None),
        (talks_for_ever, "no HTTP", False, None),
    ],
    ids=[
        "500",
        "429",
        "long wait",
        "no wait",
        "401",
        "400",
        "413",
        "422",
        "redirect",
        "silence",
        "nonsense",
        "for ever",
    ],
)
async def test_what_is_no_success_is_not_delivered(
    tmp_path: Path, answer: Any, why: str, final: bool, wait_s: float | None
) -> None:
    async with hook(tmp_path, hook=answer) as receiver:
        with pytest.raises(NotDelivered, match=why) as refused:
            await receiver.channel().send([message()])
        assert (refused.value.taken, refused.value.final, refused.value.wait_s) == (0, final, wait_s)
        assert len(receiver.server.asked) == 1, "nobody was asked a second time"
        assert receiver.server.base not in str(refused.value)


async def test_what_was_taken_before_the_trouble_is_known(tmp_path: Path) -> None:
    async with hook(tmp_path, hook=reply(200)) as receiver:
        seen: list[int] = []

        async def third_is_bad(writer: asyncio.StreamWriter) -> None:
            seen.append(1)
            writer.write(reply(200 if len(seen) < 3 else 500))
            await writer.drain()

        receiver.server.answers["/hook"] = third_is_bad
        with pytest.raises(NotDelivered) as refused:
            await receiver.channel().send([message(n) for n in range(5)])
        assert refused.value.taken == 2
        assert len(receiver.server.asked) == 3


async def test_an_answer_that_does_not_come_is_waited_for_so_long(tmp_path: Path) -> None:
    async with hook(tmp_path, hook=reply(200)) as receiver:
        receiver.server.hold = asyncio.Event()
        with pytest.raises(NotDelivered, match="no answer in time"):
            await receiver.channel(timeout_s=0.3).send([message()])


async def test_a_certificate_that_nobody_vouches_for_is_no_receiver(tmp_path: Path) -> None:
    async with hook(tmp_path, hook=reply(200)) as receiver:
        with pytest.raises(NotDelivered, match="its certificate is not good"):
            await receiver.channel(tls_ca=None).send([message()])
        assert receiver.server.asked == []


async def test_this_host_is_not_posted_to_unless_the_operator_says_so(tmp_path: Path) -> None:
    async with hook(tmp_path, hook=reply(200)) as receiver:
        with pytest.raises(NotDelivered, match="may not be connected to"):
            await receiver.channel(private=False).send([message()])
        assert receiver.server.asked == []


async def test_a_name_is_looked_up_once_and_its_judged_address_connected_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second look-up could answer otherwise: there is none."""
    looked: list[str] = []
    async with hook(tmp_path, hook=reply(200)) as receiver:
        channel = receiver.channel()
        channel._host = "rebind.example"

        async def getaddrinfo(host: str, port: int, **_: Any) -> Any:
            looked.append(host)
            return [(2, 1, 6, "", ("127.0.0.1", port))]

        loop, connected = asyncio.get_running_loop(), []
        original = asyncio.open_connection

        async def open_connection(host: str, port: int, **more: Any) -> Any:
            connected.append((host, more["server_hostname"]))
            return await original(host, port, **more)

        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        monkeypatch.setattr(asyncio, "open_connection", open_connection)
        with pytest.raises(NotDelivered, match="certificate"):  # of 127.0.0.1, not of that name
            await channel.send([message()])
    assert connected == [("127.0.0.1", "rebind.example")]
    assert looked[0] == "rebind.example"
    assert set(looked[1:]) <= {"127.0.0.1"}


# --- syslog

LINE = re.compile(
    r"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ([!-~]{1,255}) decnet-tui (\d{1,10}) ([!-~]{1,32}) - (\{.*\})\Z"
)
"""RFC 5424: PRI VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG."""


def read(line: bytes) -> tuple[int, str, dict[str, Any]]:
    found = LINE.match(line.decode("ascii"))
    assert found is not None, line
    return int(found[1]), found[5], json.loads(found[6])


def test_a_line_is_of_rfc_5424_whatever_is_in_it() -> None:
    line = line_of(message(1, text=HOSTILE), 13, "host name\u00e9", 42)
    priority, kind, whole = read(line.encode("ascii"))
    assert (priority, kind) == (13 * 8 + 4, "disk_full")
    assert " host_name_ decnet-tui 42 " in line
    assert "\n" not in line
    assert "2023-11-14T22:13:20.500Z" in line
    assert whole["payload"]["n"] == 1
    event = Message.of_event(
        Event("attacker.session.ended", {"secret": "zz", "username": "root"}, "x", "id", 1.0)
    )
    priority, kind, whole = read(line_of(event, 0, "h", 1).encode("ascii"))
    assert (priority, kind, whole["payload"]) == (6, "attacker.session.ended", {"username": "root"})


async def test_over_udp_one_datagram_each(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind(("127.0.0.1", 0))
        door.settimeout(5)
        port = door.getsockname()[1]
        channel = Syslog(
            SyslogSettings(kind="syslog", name="s", address=f"udp://127.0.0.1:{port}", facility=4)
        )
        body = message(2).body
        filler = MAX_DATAGRAM - len(line_of(message(2, x=""), 4, channel._host, channel._pid))
        await channel.send([message(1), message(2, x="y" * filler), message(3, x="y" * (filler + 1))])
        lines = [door.recv(65_536) for _ in range(3)]
    assert [read(line)[0] for line in lines] == [4 * 8 + 4] * 3
    assert len(lines[1]) == MAX_DATAGRAM
    assert read(lines[1])[2]["payload"]["x"]
    cut = read(lines[2])[2]
    assert cut == {
        "v": 1,
        "id": "id-3",
        "topic": "notice.disk_full",
        "type": "disk_full",
        "ts": 1_700_000_000.5,
        "cut": True,
    }
    assert json.loads(body)["id"] == "id-2"


async def test_over_a_socket_of_this_host(tmp_path: Path) -> None:
    path = tmp_path / "log"
    channel = Syslog(SyslogSettings(kind="syslog", name="s", address=f"unix://{path}"))
    with pytest.raises(NotDelivered):
        await channel.send([message()])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(path))
        door.settimeout(5)
        await channel.send([message()])
        assert read(door.recv(65_536))[1] == "disk_full"


async def framed(reader: asyncio.StreamReader) -> bytes:
    """One message by its length: RFC 6587, 3.4.1."""
    length = await reader.readuntil(b" ")
    return await reader.readexactly(int(length))


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
async def test_over_a_connection_that_stays_and_is_made_anew(tmp_path: Path, scheme: str) -> None:
    authority, own, key = certificate(tmp_path / "tls")
    context = None
    if scheme == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own, key)
    lines: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []
    three = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            while True:
                lines.append(await framed(reader))
                if len(lines) == 3:
                    three.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    channel = Syslog(
        SyslogSettings(
            kind="syslog",
            name="s",
            address=f"{scheme}://127.0.0.1:{port}",
            tls_ca=authority if scheme == "tls" else None,
        )
    )
    try:
        await channel.send([message(1), message(2)])
        await channel.send([message(3)])
        await asyncio.wait_for(three.wait(), 10)
        assert [read(line)[2]["id"] for line in lines] == ["id-1", "id-2", "id-3"]
        assert len(writers) == 1, "one connection"
        await channel.close()
        await channel.send([message(4)])
        while len(lines) < 4:
            await asyncio.sleep(0.01)
        assert len(writers) == 2
    finally:
        await channel.close()
        for writer in writers:
            writer.transport.abort()
        server.close()
        await server.wait_closed()


async def test_a_server_that_is_away_has_taken_nothing() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(NotDelivered) as refused:
        await Syslog(SyslogSettings(kind="syslog", name="s", address=f"tcp://127.0.0.1:{port}")).send(
            [message()]
        )
    assert refused.value.taken == 0


# --- a file


def lines_of(path: Path) -> list[int]:
    return [json.loads(line)["payload"]["n"] for line in path.read_text("ascii").splitlines()]


async def test_a_file_is_private_appended_to_and_turns_over_at_its_size(tmp_path: Path) -> None:
    path = tmp_path / "told.jsonl"
    channel = JsonFile(FileSettings(kind="file", name="f", path=path, max_bytes=65_536, keep=2))
    await channel.send([message(1), message(2)])
    assert lines_of(path) == [1, 2]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    line = len(message(3, x="").body) + 1
    room = 65_536 - path.stat().st_size
    await channel.send([message(3, x="y" * (room - line))])
    assert path.stat().st_size == 65_536, "full to the last byte"
    await channel.send([message(4)])
    assert (lines_of(path), lines_of(tmp_path / "told.jsonl.1")) == ([4], [1, 2, 3])
    for number in (5, 6):
        await channel.send([message(number, x="y" * 65_500)])
    assert lines_of(path) == [6]
    assert [lines_of(tmp_path / f"told.jsonl.{n}") for n in (1, 2)] == [[5], [4]]
    assert not (tmp_path / "told.jsonl.3").exists(), "so many are kept"


async def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "told.jsonl"
    channel = JsonFile(FileSettings(kind="file", name="f", path=path))
    await channel.send([message(1)])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files_module.os, "fsync", full)
        with pytest.raises(NotDelivered, match="No space left"):
            await channel.send([message(2)])
    await channel.send([message(3)])
    assert lines_of(path) == [1, 3]


async def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "told.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotDelivered):
        await JsonFile(FileSettings(kind="file", name="f", path=tmp_path / "told.jsonl")).send([message()])
    assert not (tmp_path / "elsewhere").exists()
