"""Bodies of webhooks: what Canarytokens and OpenCanary send; pure.

A Canarytoken's body holds ``manage_url``, with which anybody could take the token back: it is read for the token's name
and goes no further.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

from decnet import ids
from decnet.bus import topics
from decnet.bus.base import Event
from decnet.events.canary import Triggered
from decnet.events.fields import epoch
from decnet.hostile import storable
from decnet.jsontext import loads
from decnet.sensors.opencanary import is_opencanary
from decnet.sensors.values import MAX_NAME, MAX_URL, Data, Refusal, address, as_text

PRODUCER = "inbox"
SERVICE = "canarytokens"
_TEST_PAGE = "http://example.com/test/url/for/webhook"
"""The page of management in the body that the service sends when a webhook is entered there: a trip of nobody's."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ZONE = re.compile(r"\s*\(UTC\)\s*\Z")


def form_message(text: str) -> Any:
    """The value of ``message=`` in the body of a form: JSON, or text; None without one."""
    try:
        found = parse_qs(text, max_num_fields=32).get("message", [""])[0]
    except ValueError:
        return None
    return json_or_text(found) if found else None


def json_or_text(text: str) -> Any:
    """What a text is as JSON, or the text."""
    try:
        return storable(loads(text))
    except (ValueError, RecursionError):
        return text


def opencanary_line(raw: Any) -> Data | None:
    """The log line in a body of OpenCanary's: the body itself, or what its ``message`` holds."""
    if isinstance(raw, dict) and not is_opencanary(raw):
        inner = raw.get("message")
        raw = json_or_text(inner) if isinstance(inner, str) else inner
    return raw if isinstance(raw, dict) and is_opencanary(raw) else None


def is_canarytoken(raw: Any) -> bool:
    """Whether a body is one of Canarytokens."""
    return isinstance(raw, dict) and ("manage_url" in raw or {"channel", "token_type"} <= raw.keys())


def is_test(raw: Data) -> bool:
    """Whether a Canarytoken's body only tries the webhook out; the addresses in it are made up."""
    return raw.get("manage_url") == _TEST_PAGE


def trigger_event(raw: Data, ts: float) -> Event | Refusal:
    """``canary.<token>.triggered``; ``ts`` (epoch seconds) counts where the body names no time.

    Whether it is the token's first trip is left to who keeps the tokens.
    """
    more = _more(raw)
    peer = address(as_text(raw.get("src_ip") or more.get("src_ip"), MAX_NAME))
    if peer is None:
        return Refusal("no_peer")
    token = _token(raw)
    said = raw.get("time")
    moment = (epoch(_ZONE.sub("", said)) if isinstance(said, str) else epoch(said)) or ts
    channel = (as_text(raw.get("channel"), MAX_NAME) or "").upper()
    agent = as_text(more.get("useragent") or more.get("user_agent"), MAX_URL) or ""
    ident = ids.event_id(PRODUCER, f"canary|{token}|{peer}|{said}|{channel}|{agent}")
    record = Triggered(
        attacker_uuid=ids.attacker_id(peer),
        attacker_ip=peer,
        token_id=token,
        trigger_id=ident,
        service=SERVICE,
        kind=as_text(raw.get("token_type"), MAX_NAME),
        memo=as_text(raw.get("memo"), MAX_NAME),
        peer_kind="resolver" if channel == "DNS" else "client",
        user_agent=agent,
        dns_qname=as_text(more.get("hostname") or more.get("dns_name"), MAX_NAME)
        if channel == "DNS"
        else None,
    )
    return Event(topics.canary(token, topics.CANARY_TRIGGERED), record.build(), "triggered", ident, moment)


def _more(raw: Data) -> Data:
    """What a body says beside: under the names of old and new versions."""
    found: Data = {}
    for name in ("src_data", "additional_data"):
        inner = raw.get(name)
        found |= inner if isinstance(inner, dict) else {}
    return found


def _token(raw: Data) -> str:
    """The name of the token: as it is told, else as its page of management is asked for; else a hash of that."""
    told = raw.get("token")
    if isinstance(told, str) and _TOKEN.fullmatch(told):
        return told
    url = as_text(raw.get("manage_url"), MAX_URL) or ""
    try:
        asked = parse_qs(urlsplit(url).query, max_num_fields=32).get("token", [""])[0]
    except ValueError:
        asked = ""
    return asked if _TOKEN.fullmatch(asked) else sha256(url.encode()).hexdigest()[:26]
