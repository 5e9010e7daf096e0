"""The one place that opens a connection to a service: one question out, one bounded JSON answer back.

No redirect is followed, no cookie kept, no proxy of the environment used, TLS is verified, and nothing of an answer or of the key gets
into a log or an error. What an answer means is left to its service, whether to ask at all to the governor.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final

from decnet.intel.services.base import Answer, AnswerFault, Service, Value
from decnet.jsontext import loads
from decnet.logs import get_logger
from decnet.service_settings import ServiceSettings

if TYPE_CHECKING:
    import httpx

log = get_logger(__name__)
MAX_BYTES: Final = 2**20
"""Largest body that is read, in bytes."""
AGENT: Final = "decnet-tui"
_PLAIN: Final = ("", "identity")
_REFUSED: Final = (401, 403)
_LATER: Final = (429, 503)
"""Statuses with which a service may say when to come again."""


class Client:
    """Questions to one service. Nothing is opened before the first one."""

    def __init__(
        self, service: Service, settings: ServiceSettings, now: Callable[[], float] = time.time
    ) -> None:
        self._service, self._settings, self._now = service, settings, now
        self._http: httpx.AsyncClient | None = None

    async def ask(self, value: Value) -> Answer:
        """What the service says of a value. Raises AnswerFault when there is nothing that could be believed."""
        import httpx  # here: it loads a terminal library, and an engine that asks nobody needs neither

        try:
            async with asyncio.timeout(self._settings.timeout_s):
                status, body = await self._exchange(value)
        except (TimeoutError, httpx.TimeoutException):
            raise AnswerFault("timeout") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError):
            raise AnswerFault("unreachable") from None  # its text and its request may hold the key
        log.debug("a service answered", service=self._service.name, status=status, size=len(body))
        return self._service.read(value, status, _json(body))

    async def close(self) -> None:
        """Ends its connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def _exchange(self, value: Value) -> tuple[int, bytes]:
        request = self._service.request(value)
        if self._http is None:
            self._http = self._opened()
        async with self._http.stream(
            request.method,
            self._settings.base_url + request.path,
            params=request.params or None,
            data=request.form,
            json=request.json,
            headers=self._headers(),
        ) as response:
            self._judge(response)
            return response.status_code, await _bounded(response)

    def _opened(self) -> httpx.AsyncClient:
        import httpx

        proxy = self._settings.proxy
        return httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            verify=True,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            proxy=proxy.get_secret_value() if proxy else None,
            timeout=self._settings.timeout_s,
        )

    def _headers(self) -> Mapping[str, str]:
        """A packed body could be a thousand times as large as what is read of it: none is asked for."""
        key = self._settings.key
        own = {self._service.key_header: key.get_secret_value()} if key else {}
        return {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": AGENT, **own}

    def _judge(self, response: httpx.Response) -> None:
        """Raises AnswerFault for what is no answer, before anything of its body is read."""
        status = response.status_code
        if status in _LATER:
            wait = retry_after(response.headers.get("Retry-After"), self._now())
            raise AnswerFault(_why(status), wait)
        if response.headers.get("Content-Encoding", "").strip().lower() not in _PLAIN:
            raise AnswerFault("encoded")
        if status not in self._service.statuses:
            raise AnswerFault(_why(status))


def _why(status: int) -> str:
    if 300 <= status < 400:
        return "redirect"
    if status == 429:
        return "rate_limited"
    if status in _REFUSED:
        return "refused"
    return "server_error" if status >= 500 else "status"


async def _bounded(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BYTES:
            raise AnswerFault("too_large")
    return bytes(body)


def _json(body: bytes) -> Any:
    try:
        return loads(body)
    except (ValueError, RecursionError):
        raise AnswerFault("no_json") from None


def retry_after(text: str | None, now: float) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, as a number or as a date; None for none and for nonsense."""
    text = (text or "").strip()
    if text.isascii() and text.isdigit() and len(text) <= 12:
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - now, 0.0)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
