"""One question out, one bounded answer back: what is sent, what is refused, and that a key stands nowhere else."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import ssl
import traceback
from pathlib import Path
from typing import Any

import pytest

from decnet.config import load_settings
from decnet.intel.services import client as wire
from decnet.intel.services.base import Answer, AnswerFault, Value
from decnet.intel.services.catalogue import SERVICES
from decnet.intel.services.client import Client, retry_after
from decnet.logs import configure_logging
from tests import servicekit as kit
from tests.httpkit import Server, reply, serving
from tests.servicekit import ADDRESS, SHA256, URL

KEY = "k3y-0f-0urs"
ABOUT = Value("address", ADDRESS)
PATH = f"/v3/community/{ADDRESS}"
FIXTURES = Path(__file__).parents[1] / "fixtures"
NOW = 1_700_000_000.0


def client_of(base: str, name: str = "greynoise", **more: Any) -> Client:
    section = {"enabled": True, "key": KEY, "base_url": base, **more}
    return Client(SERVICES[name], getattr(load_settings(**{name: section}), name), lambda: NOW)


async def answer(server: Server, name: str = "greynoise", value: Value = ABOUT, **more: Any) -> Answer:
    client = client_of(server.base, name, **more)
    try:
        return await client.ask(value)
    finally:
        await client.close()


async def fault(server: Server, **more: Any) -> AnswerFault:
    with pytest.raises(AnswerFault) as caught:
        await answer(server, **more)
    text = "".join(traceback.format_exception(caught.value))
    assert KEY not in text
    assert "evil" not in text
    return caught.value


@pytest.mark.parametrize(
    ("name", "value", "target", "body", "good"),
    [
        ("greynoise", ABOUT, PATH, "", kit.GREYNOISE_SEEN),
        (
            "abuseipdb",
            ABOUT,
            f"/api/v2/check?ipAddress={ADDRESS}&maxAgeInDays=7&verbose=true",
            "",
            kit.ABUSEIPDB,
        ),
        ("virustotal", Value("sha256", SHA256), f"/api/v3/files/{SHA256}", "", kit.VIRUSTOTAL),
        (
            "urlhaus",
            Value("url", URL),
            "/v1/url/",
            "url=http%3A%2F%2F91.92.93.94%2Fbins%2Farm7",
            kit.URLHAUS_URL,
        ),
        (
            "threatfox",
            ABOUT,
            "/api/v1/",
            '{"query":"search_ioc","search_term":"91.92.93.94","exact_match":false}',
            kit.THREATFOX,
        ),
        ("feodo", Value("list", "ipblocklist"), "/downloads/ipblocklist.json", "", kit.FEODO),
    ],
)
async def test_what_goes_over_the_wire_is_the_question_the_key_and_no_more(
    name: str, value: Value, target: str, body: str, good: Any
) -> None:
    async with serving({target: reply(200, good)}) as server:
        found = await answer(server, name, value)
    assert found == SERVICES[name].read(value, 200, good)
    (asked,) = server.asked
    assert (asked.target, asked.body) == (target, body)
    allowed = {
        "host": server.base.removeprefix("http://"),
        "accept": "application/json",
        "accept-encoding": "identity",
        "connection": "keep-alive",
        "user-agent": "decnet-tui",
        SERVICES[name].key_header.lower(): KEY,
    }
    assert {key: asked.headers[key] for key in allowed} == allowed
    assert asked.headers.keys() - allowed.keys() <= {"content-type", "content-length"}


async def test_without_a_key_none_is_sent() -> None:
    async with serving({PATH: reply(200, kit.GREYNOISE_SEEN)}) as server:
        await answer(server, key=None)
    assert "key" not in server.asked[0].headers


async def test_a_mirror_below_a_path_is_asked_there() -> None:
    async with serving({f"/intel{PATH}": reply(200, kit.GREYNOISE_SEEN)}) as server:
        server.base += "/intel/"
        assert (await answer(server)).known


async def test_a_service_that_says_unknown_by_its_status_has_answered() -> None:
    async with serving({PATH: reply(404, kit.GREYNOISE_UNSEEN)}) as server:
        assert not (await answer(server)).known


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (reply(500, {"evil": 1}), "server_error"),
        (reply(503, kit.GREYNOISE_SEEN), "server_error"),
        (reply(401, {"message": "evil"}), "refused"),
        (reply(403, kit.GREYNOISE_SEEN), "refused"),
        (reply(400, kit.GREYNOISE_SEEN), "status"),
        (reply(204), "status"),
        (reply(404, b"<html>evil</html>"), "no_json"),
        (reply(200, b""), "no_json"),
        (reply(200, b"\xff\xfe"), "no_json"),
        (reply(200, b'{"ip": "' + ADDRESS.encode()), "no_json"),
        (reply(200, b"[" * 100_000), "no_json"),
        (reply(200, b"9" * 100_000), "no_json"),
        (reply(200, []), "wrong_shape"),
        (reply(200, {**kit.GREYNOISE_SEEN, "noise": "yes"}), "wrong_shape"),
        (reply(200, {**kit.GREYNOISE_SEEN, "name": "evil\x1b]0;x\x07"}), "hostile_text"),
        (reply(200, {**kit.GREYNOISE_SEEN, "ip": "91.92.93.9"}), "about_another"),
        (reply(200, gzip.compress(b"evil" * 9, mtime=0), Content_Encoding="gzip"), "encoded"),
        (b"evil\r\n\r\n", "unreachable"),
        (b"", "unreachable"),
        (b"HTTP/1.1 200 X\r\nContent-Length: 99\r\n\r\n{}", "unreachable"),
        (b"HTTP/1.1 200 X\r\nX: " + b"y" * 300_000 + b"\r\n\r\n", "unreachable"),
    ],
)
async def test_what_is_no_answer_is_a_fault_of_one_name_and_holds_nothing_of_it(
    told: bytes, reason: str
) -> None:
    async with serving({PATH: told}) as server:
        assert (await fault(server)).reason == reason


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "inside", ["http://169.254.169.254/latest/meta-data/", "{own}/secret", "file:///etc/passwd"]
)
async def test_a_redirect_is_a_fault_and_leads_nowhere(status: int, inside: str) -> None:
    async with serving() as server:
        place = inside.format(own=server.base)
        server.answers[PATH] = reply(status, kit.GREYNOISE_SEEN, Location=place)
        server.answers["/secret"] = reply(200, kit.GREYNOISE_SEEN)
        assert (await fault(server)).reason == "redirect"
    assert [asked.target for asked in server.asked] == [PATH]


async def test_ten_megabytes_are_cut_off_and_not_read() -> None:
    sent = 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n")
        for _ in range(160):
            writer.write(b" " * 65_536)
            await writer.drain()
            sent += 65_536

    async with serving({PATH: flood}) as server:
        assert (await fault(server)).reason == "too_large"
    assert sent < 10 * 2**20, "the connection was ended in the middle"


async def test_a_body_of_the_greatest_size_is_read_and_one_byte_more_is_not() -> None:
    small = json.dumps(kit.GREYNOISE_SEEN).encode()
    async with serving({PATH: reply(200, small.ljust(wire.MAX_BYTES))}) as server:
        assert (await answer(server)).known
        server.answers[PATH] = reply(200, small.ljust(wire.MAX_BYTES + 1))
        assert (await fault(server)).reason == "too_large"


async def test_a_service_that_says_nothing_and_one_that_drips_are_given_up_in_time() -> None:
    async def drips(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0)  # each byte comes before any single wait is over

    async def silent(writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    for told in (silent, drips):
        async with serving({PATH: told}) as server:
            assert (await fault(server, timeout_s=0.1)).reason == "timeout"


async def test_nobody_there_is_a_fault() -> None:
    async with serving() as server:
        pass
    assert (await fault(server)).reason == "unreachable"


async def test_a_server_whose_certificate_nobody_vouches_for_is_told_nothing() -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(FIXTURES / "tls" / "untrusted.pem")
    async with serving({PATH: reply(200, kit.GREYNOISE_SEEN)}, tls) as server:
        assert server.base.startswith("https://")
        assert (await fault(server)).reason == "unreachable"
        assert server.asked == []


@pytest.mark.parametrize(("status", "reason"), [(429, "rate_limited"), (503, "server_error")])
async def test_a_service_that_has_enough_says_for_how_long(status: int, reason: str) -> None:
    async with serving({PATH: reply(status, kit.GREYNOISE_SEEN, Retry_After="120")}) as server:
        found = await fault(server)
        assert (found.reason, found.retry_after) == (reason, 120.0)
        server.answers[PATH] = reply(status, kit.GREYNOISE_SEEN)
        found = await fault(server)
    assert (found.reason, found.retry_after) == (reason, None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None), ("", None), ("120", 120.0), (" 0 ", 0.0), ("-5", None), ("1e9", None), ("12.5", None), ("soon", None),
        ("9" * 12, float("9" * 12)), ("9" * 13, None), ("٣", None), ("Tue, 14 Nov 2023 22:15:20 GMT", 120.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0), ("Tue, 99 Nov 99999 22:00:00 GMT", None),
    ],
)  # fmt: skip
def test_how_long_a_service_wants_to_be_left_alone(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, NOW) == seconds


async def test_proxies_of_the_environment_are_not_used_and_the_one_of_the_setting_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving({PATH: reply(200, kit.GREYNOISE_SEEN)}) as server, serving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.base)
        assert (await answer(server)).known
        assert proxy.asked == []
        proxy.answers[server.base + PATH] = reply(200, {**kit.GREYNOISE_SEEN, "name": "by proxy"})
        found = await answer(server, proxy=proxy.base)
    assert found.said["greynoise_name"] == "by proxy"


async def test_cookies_of_a_service_are_not_sent_back() -> None:
    async with serving({PATH: reply(200, kit.GREYNOISE_SEEN, Set_Cookie="a=b")}) as server:
        client = client_of(server.base)
        await client.ask(ABOUT)
        await client.ask(ABOUT)
        await client.close()
    assert [asked.headers.get("cookie") for asked in server.asked] == [None, None]


async def test_logs_have_status_and_size_and_neither_key_nor_answer_nor_address(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    configure_logging("json", "DEBUG")
    try:
        async with serving({PATH: reply(200, {**kit.GREYNOISE_SEEN, "name": "evil"})}) as server:
            await answer(server)
            server.answers[PATH] = reply(500, {"evil": 1})
            await fault(server)
    finally:
        logging.getLogger().handlers[:] = before[0]
        logging.getLogger().setLevel(before[1])
    told = capsys.readouterr()
    text = told.out + told.err
    assert '"status": 200' in text
    assert [word for word in (KEY, "evil", ADDRESS) if word in text] == []


def test_the_key_stands_in_no_text_of_a_client() -> None:
    client = client_of("https://mirror.example.org")
    assert KEY not in repr(client) + str(vars(client))
