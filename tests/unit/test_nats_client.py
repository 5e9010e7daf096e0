"""Facts about the client library: its errors as ours, its options, one attempt for many, and a bounded end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nats.errors
import nats.js.errors
import pytest
from nats.aio.msg import Msg
from pydantic import SecretStr

from decnet.bus.nats import client as nats_client
from decnet.bus.nats.client import (
    PENDING_BYTES,
    PING_S,
    REMEMBERED_S,
    Attempts,
    Callbacks,
    abandon,
    api_error,
    is_auth_error,
    is_plumbing,
    open_client,
    translate,
    translated,
)
from decnet.config import BusSettings
from decnet.errors import BusAuthError, BusError, BusFull, BusUnavailable

API = nats.js.errors.APIError


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (nats.errors.AuthorizationError(), BusAuthError),
        (nats.errors.Error("nats: 'Authorization Violation'"), BusAuthError),
        (nats.errors.Error("nats: user authentication expired"), BusAuthError),
        (nats.errors.TimeoutError(), BusUnavailable),
        (nats.errors.NoRespondersError(), BusUnavailable),
        (nats.errors.ConnectionClosedError(), BusUnavailable),
        (nats.errors.NoServersError(), BusUnavailable),
        (TimeoutError(), BusUnavailable),
        (ConnectionRefusedError("authorization"), BusUnavailable),
        (API(code=503, description="maximum bytes exceeded"), BusFull),
        (API(code=503, description="Maximum Messages exceeded"), BusFull),
        (API(code=500, description="insufficient storage resources available"), BusFull),
        (API(code=500, description="resource limits exceeded for account"), BusFull),
        (API(code=500, description="write: no space left on device"), BusFull),
        (API(code=404, description="stream not found"), BusUnavailable),
        (nats.js.errors.ServiceUnavailableError(), BusUnavailable),
    ],
)
def test_every_error_of_the_library_comes_out_as_ours(error: Exception, ours: type[BusError]) -> None:
    assert type(translate(error)) is ours
    with pytest.raises(ours) as raised, translated():
        raise error
    assert raised.value.__cause__ is error


def test_an_error_that_is_nobodys_stays_what_it_is() -> None:
    with pytest.raises(KeyError), translated():
        raise KeyError("x")


def test_only_the_client_library_can_say_that_credentials_were_refused() -> None:
    assert not is_auth_error(None)
    assert not is_auth_error(OSError("authorization"))
    assert not is_auth_error(nats.errors.Error("stale connection"))


def test_an_answer_without_a_reason_says_what_the_server_lacks() -> None:
    assert "nats-server -js" in str(api_error(None, None))
    assert str(api_error(500, None)) == "JetStream: JetStream answered 500"
    assert "nats-server -js" not in str(api_error(None, "x"))
    assert "x" in str(api_error(None, "x"))


@pytest.mark.parametrize(
    ("subject", "reply", "plumbing"),
    [
        ("attacker.observed", "", False),
        ("attacker.observed", "_INBOX.a.1", False),
        ("attacker.observed", "$JS.ACK.DECNET.ttp.1.1.1.1.0", True),
        ("_INBOX.a.1", "", True),
        ("$JS.API.STREAM.INFO.DECNET", "_INBOX.a", True),
        ("$O.DECNET_blobs.C.x", "", True),
        ("inbox._INBOX.x", "", False),
    ],
)
def test_the_servers_own_traffic_is_told_apart(subject: str, reply: str, plumbing: bool) -> None:
    assert is_plumbing(Msg(_client=None, subject=subject, reply=reply)) is plumbing  # type: ignore[arg-type]


class Clock:
    """Stands in for ``time.monotonic``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 500.0
        monkeypatch.setattr(nats_client, "time", SimpleNamespace(monotonic=lambda: self.now))


def test_a_failure_answers_for_as_long_as_it_took_and_two_seconds_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, attempts = Clock(monkeypatch), Attempts()
    assert not attempts.fresh()
    attempts.repeat()  # nothing to repeat

    def attempt() -> None:
        with attempts.watched():
            clock.now += 3.0
            raise BusAuthError("refused")

    with pytest.raises(BusAuthError):
        attempt()
    assert (attempts.failed, REMEMBERED_S) == (1, 2.0)
    clock.now += 4.999
    assert attempts.fresh()
    with pytest.raises(BusAuthError, match="refused"):
        attempts.repeat()
    clock.now += 0.001
    assert not attempts.fresh()


def test_an_attempt_that_works_is_no_failure_and_forgets_the_last_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Clock(monkeypatch)
    attempts = Attempts()
    with pytest.raises(BusUnavailable), attempts.watched():
        raise BusUnavailable("away")
    with attempts.watched():
        pass
    assert (attempts.failed, attempts.fresh()) == (1, False)
    attempts.repeat()


class Raw:
    """Stands in for the library's client; ``way`` is what its ``connect`` does."""

    def __init__(self) -> None:
        self.is_connected = False
        self.closed = 0
        self.options: dict[str, Any] = {}
        self.way: Callable[[Raw], Any] = hang
        self.close_error: Exception | None = None

    async def connect(self, **options: Any) -> None:
        self.options = options
        await self.way(self)

    async def close(self) -> None:
        self.closed += 1
        if self.close_error is not None:
            raise self.close_error


async def hang(raw: Raw) -> None:
    await asyncio.Event().wait()


async def work(raw: Raw) -> None:
    raw.is_connected = True


async def refuse(raw: Raw) -> None:
    await raw.options["error_cb"](nats.errors.Error("nats: 'Authorization Violation'"))
    await raw.options["error_cb"](nats.errors.Error("nats: 'Authorization Violation'"))
    await asyncio.Event().wait()  # the library tries again for ever


async def refuse_then_break_off(raw: Raw) -> None:
    await raw.options["error_cb"](nats.errors.AuthorizationError())
    await raw.options["error_cb"](nats.errors.UnexpectedEOF())
    await asyncio.Event().wait()


async def find_nobody(raw: Raw) -> None:
    await raw.options["error_cb"](ConnectionRefusedError("nobody there"))
    await asyncio.Event().wait()


async def fail(raw: Raw) -> None:
    raise nats.errors.NoServersError


async def fail_to_log_in(raw: Raw) -> None:
    raise nats.errors.AuthorizationError


async def claim(raw: Raw) -> None:
    """Returns without a connection."""


URL = "nats://user:pass-word@127.0.0.1:1, nats://127.0.0.1:2"


async def opened(
    monkeypatch: pytest.MonkeyPatch, way: Any, settings: BusSettings | None = None, token: str | None = None
) -> Raw:
    raw = Raw()
    raw.way = way
    monkeypatch.setattr(nats_client, "_SteadyClient", lambda: raw)
    callbacks = Callbacks(lost=never, back=never, closed=never)
    settings = settings or BusSettings(connect_timeout_s=5.0)
    try:
        assert await open_client(URL, "ttp", token, settings, callbacks) is raw  # type: ignore[comparison-overlap]
    finally:
        await asyncio.sleep(0)
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert "ttp:connect" not in names  # no attempt goes on in the background
        if not raw.is_connected:
            assert raw.closed == 1
    return raw


async def never() -> None:
    raise AssertionError


async def test_a_connected_client_is_given_and_not_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = await opened(monkeypatch, work)
    assert raw.closed == 0


@pytest.mark.parametrize("way", [refuse, refuse_then_break_off, fail_to_log_in])
async def test_refused_credentials_end_the_attempt_at_once(monkeypatch: pytest.MonkeyPatch, way: Any) -> None:
    began = time.monotonic()
    with pytest.raises(BusAuthError) as raised:
        await opened(monkeypatch, way, BusSettings(connect_timeout_s=60.0))
    assert time.monotonic() - began < 30
    assert str(raised.value) == "the bus at nats://127.0.0.1:1,nats://127.0.0.1:2 refused the credentials"


@pytest.mark.parametrize(
    ("way", "reason"),
    [(hang, "no answer"), (find_nobody, "nobody there"), (fail, "NoServersError"), (claim, "no answer")],
)
async def test_a_bus_that_cannot_be_reached_is_unavailable_in_time(
    monkeypatch: pytest.MonkeyPatch, way: Any, reason: str
) -> None:
    with pytest.raises(BusUnavailable, match=reason) as raised:
        await opened(monkeypatch, way, BusSettings(connect_timeout_s=0.01))
    assert "pass-word" not in str(raised.value)
    assert str(raised.value).startswith(
        "the bus at nats://127.0.0.1:1,nats://127.0.0.1:2 cannot be reached: "
    )


async def test_a_connection_comes_back_for_ever_and_is_looked_after(monkeypatch: pytest.MonkeyPatch) -> None:
    options = (await opened(monkeypatch, work, BusSettings(request_timeout_s=7.0))).options
    assert options["servers"] == ["nats://user:pass-word@127.0.0.1:1", "nats://127.0.0.1:2"]
    assert options["max_reconnect_attempts"] == -1
    assert options["reconnect_time_wait"] == 0.5
    assert (options["ping_interval"], options["max_outstanding_pings"], PING_S) == (10, 2, 10)
    assert (options["pending_size"], PENDING_BYTES) == (8 * 2**20, 8 * 2**20)
    assert (options["flush_timeout"], options["name"], options["connect_timeout"]) == (7.0, "ttp", 5.0)
    assert options.get("allow_reconnect", True)
    assert {options[name] for name in ("disconnected_cb", "reconnected_cb", "closed_cb")} == {never}
    assert not options.keys() & {"token", "user", "password", "nkeys_seed", "tls"}
    short = (await opened(monkeypatch, work, BusSettings(connect_timeout_s=2.0))).options
    assert short["connect_timeout"] == 2.0


async def test_the_credentials_that_are_set_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await opened(monkeypatch, work, token="to-ken")).options["token"] == "to-ken"
    both = BusSettings(user="u", password=SecretStr("p"), nkeys_seed=Path("seed"))
    options = (await opened(monkeypatch, work, both)).options
    assert (options["user"], options["password"], options["nkeys_seed"]) == ("u", "p", "seed")
    assert (await opened(monkeypatch, work, BusSettings(user="u"))).options["password"] == ""
    asked: list[str | None] = []
    monkeypatch.setattr(
        nats_client.ssl, "create_default_context", lambda cafile: asked.append(cafile) or "context"
    )
    encrypted = (await opened(monkeypatch, work, BusSettings(tls_ca=Path("ca.pem")))).options
    assert (encrypted["tls"], asked) == ("context", ["ca.pem"])


@pytest.mark.parametrize(
    "error", [None, TimeoutError(), OSError(), nats.errors.ConnectionClosedError(), AttributeError()]
)
async def test_a_client_is_closed_whatever_its_state(error: Exception | None) -> None:
    raw = Raw()
    raw.close_error = error
    await abandon(raw)  # type: ignore[arg-type]
    assert raw.closed == 1


async def test_a_client_that_does_not_close_is_left_after_a_while() -> None:
    class Stuck(Raw):
        async def close(self) -> None:
            await asyncio.Event().wait()

    async with asyncio.timeout(5):
        await abandon(Stuck(), seconds=0.01)  # type: ignore[arg-type]


def test_a_subject_that_no_database_stores_is_made_storable() -> None:
    client = nats_client._SteadyClient()
    made = client._build_message(1, b"attacker.\xff\x00.a", b"r.\x00\xfe", b"x", None)
    assert (made.subject, made.reply) == ("attacker.\ufffd\ufffd.a", "r.\ufffd\ufffd")
    plain = client._build_message(1, "attacker.é".encode(), b"", b"x", None)
    assert (plain.subject, plain.reply) == ("attacker.é", "")


@pytest.mark.parametrize(
    "broken", [b"NATS/1.0\r\n\xff\xfe: \xfd\r\n\r\n", b"NATS/1.0 503\xff \xff\r\n\r\n", b""]
)
async def test_broken_headers_cost_the_headers_and_not_the_message(broken: bytes) -> None:
    client = nats_client._SteadyClient()
    found = await client._process_headers(broken)
    assert not found or all(isinstance(value, str) for value in found.values())


async def test_headers_the_library_cannot_read_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    client = nats_client._SteadyClient()
    for error in (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), IndexError()):

        async def broken(self: Any, headers: bytes, error: Exception = error) -> Any:
            raise error

        monkeypatch.setattr(nats_client.Client, "_process_headers", broken)
        assert await client._process_headers(b"NATS/1.0\r\na: b\r\n\r\n") is None
