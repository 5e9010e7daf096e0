"""What one stored session tells about who is behind its address: values by family, its script, its log-ins; pure.

What belongs to nobody in particular (:mod:`decnet.attribution.linking.public`) is no value. A file that was written by
a redirect is part of the script that wrote it, and only that: everybody who owns the kit writes the same. What a value
weighs is left to scoring.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from decnet.attribution.linking import numbers as n
from decnet.attribution.linking.public import FILES, is_public_host
from decnet.attribution.linking.steps import script_of
from decnet.bounds import bit
from decnet.events.session import Client, SessionEnded
from decnet.hostile import visible
from decnet.shell.assets import host_of, public_keys
from decnet.shell.script import read_script

VALUE_CHARS = 200
REMEMBERED, REMEMBERED_CHARS = 2048, 4000
"""Sessions whose commands need not be read again for what they fetch, and the characters of one at most."""
_URL = re.compile(r"(?i)\b(?:https?|ftp|tftp)://[^\s'\"`;|<>()\\]{3,400}")
_SOCKET = re.compile(r"/dev/(?:tcp|udp)/([\w.:-]{3,253})/\d{1,5}")
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?\Z")
_IPV4_NET, _IPV6_NET = 24, 48
_KEY_FIELDS = ("fingerprint", "public_key", "key")


class Login(NamedTuple):
    """One attempt to log in: the secret by its keyed hash, ``kind`` password or publickey."""

    username: str
    secret_hmac: str
    kind: str = "password"


class Features(NamedTuple):
    """What one session brings to linking."""

    address: str
    attacker_uuid: str
    at: float
    """Event time (epoch seconds) of the session's start, or of its end where only that is known."""
    values: tuple[tuple[str, str], ...] = ()
    """Family and value, each once, in order of family and value."""
    steps: tuple[str, ...] = ()
    """The session's script; empty when it says too little."""
    logins: tuple[int, ...] = ()
    """Log-ins by 64-bit hashes, each once, ascending."""


def features_of(parts: Sequence[SessionEnded], logins: Iterable[Login] = ()) -> Features:
    """The features of a session from all parts of its end, in order, and its attempts to log in, in order.

    Raises ValueError when there is no part, or none says whose session it was.
    """
    if not parts:
        raise ValueError("a session without parts")
    first, last = parts[0], parts[-1]
    address, uuid = first.attacker_ip or "", first.attacker_uuid or ""
    if not address or not uuid:
        raise ValueError(f"session {first.session_id} names no attacker")
    tried = list(logins)
    found = [*_assets(parts, tried), *_circumstances(address, parts, tried)]
    steps = script_of(command.command_text for part in parts for command in part.commands)
    at = first.started_at if first.started_at is not None else last.ended_at
    hashes = {_hashed(f"{one.username}\0{one.secret_hmac}") for one in tried if one.secret_hmac}
    return Features(address, uuid, float(at), _bounded(found), steps, tuple(sorted(hashes)))


def _bounded(found: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Each value once; of a family with too many those that any order of the same would leave."""
    by_family: dict[str, set[str]] = {}
    for family, value in found:
        by_family.setdefault(family, set()).add(visible(value, VALUE_CHARS))
    kept = []
    for family, values in sorted(by_family.items()):
        chosen = sorted(values, key=lambda text: (_hashed(text), text))[: n.SESSION_VALUES]
        bit(n.CAPPED, len(values) - len(chosen))
        kept += [(family, value) for value in sorted(chosen)]
    return tuple(kept)


def _hashed(text: str) -> int:
    raw = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(raw, "big")


# --- what only its owner profits from


def _assets(parts: Sequence[SessionEnded], logins: Iterable[Login]) -> Iterator[tuple[str, str]]:
    for part in parts:
        lines = _lines(part)
        yield from ((n.KEY, key) for key in public_keys(lines))
        yield from ((n.KEY, key) for key in _used_keys(part))
        yield from ((n.HOST, host) for host in _hosts(part, lines))
        yield from ((n.FILE, digest) for digest in _files(part))
        yield from ((n.TUNNEL, target) for target in _targets(part))
    yield from (
        (n.KEY, f"hmac:{one.secret_hmac}") for one in logins if one.kind == "publickey" and one.secret_hmac
    )


def _lines(part: SessionEnded) -> list[str]:
    return [
        *(command.command_text for command in part.commands),
        *(item.text for item in part.inputs),
        *(item.command_text for item in part.joined),
    ]


def _used_keys(part: SessionEnded) -> Iterator[str]:
    """Keys that the client offered, as far as the honeypot told them."""
    for extra in part.extras:
        if "login" in extra.eventid or extra.eventid.endswith("client.fingerprint"):
            told = next((extra.fields[name] for name in _KEY_FIELDS if extra.fields.get(name)), None)
            if isinstance(told, str):
                yield from public_keys((told,)) if "AAAA" in told else (told,)


def _hosts(part: SessionEnded, lines: Sequence[str]) -> Iterator[str]:
    sources = [item.url for item in part.downloads]
    sources += [found[0] for line in lines for found in _URL.finditer(line)]
    sources += [found[1] for line in lines for found in _SOCKET.finditer(line)]
    commands = tuple(command.command_text for command in part.commands)
    sources += _remembered(commands) if sum(map(len, commands)) <= REMEMBERED_CHARS else _sources_of(commands)
    for host in dict.fromkeys(map(source_host, sources)):
        if host and not is_public_host(host):
            yield host


@lru_cache(maxsize=REMEMBERED)
def _remembered(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Most sessions run what another one ran."""
    return _sources_of(lines)


def _sources_of(lines: tuple[str, ...]) -> tuple[str, ...]:
    """What a session's commands fetch from."""
    facts = (one for line in read_script(lines).facts for one in line.values())
    return tuple(dict.fromkeys(source for one in facts for source in one.values.get("fetch.source", ())))


def source_host(source: str) -> str:
    """The host that something is fetched from, a URL or ``host[:port][/path]``; empty when it names none."""
    host = host_of(source) if "://" in source else source.partition("/")[0].rpartition("@")[2].lower()
    if "://" not in source and host.count(":") == 1:
        host = host.partition(":")[0]
    host = host.rstrip(".")
    if ":" in host:
        return host if _is_address(host.strip("[]")) else ""
    return host if "." in host and _NAME.match(host) else ""


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _files(part: SessionEnded) -> Iterator[str]:
    came = [item.sha256 for item in part.downloads if item.url and not item.failed]
    for digest in (*came, *(item.sha256 for item in part.uploads)):
        if digest and digest.lower() not in FILES:
            yield digest.lower()


def _targets(part: SessionEnded) -> Iterator[str]:
    for item in part.forwards:
        host = item.host.strip("[]").lower().rstrip(".")
        if host and not is_public_host(host):
            yield f"{host}:{item.port if item.port is not None else ''}"


# --- what many may share


def _circumstances(
    address: str, parts: Sequence[SessionEnded], logins: Sequence[Login]
) -> Iterator[tuple[str, str]]:
    client = next((part.client for part in reversed(parts) if part.client is not None), None)
    if client is not None and (client.version or client.hassh):
        yield n.CLIENT, " ".join(filter(None, (client.version, client.hassh)))
    if environment := _environment(parts, client):
        yield n.ENVIRONMENT, environment
    if network := network_of(address):
        yield n.NETWORK, network
    tried = list(dict.fromkeys((one.username, one.secret_hmac) for one in logins if one.secret_hmac))
    if len(tried) >= n.LIST_LOGINS:
        yield n.CREDENTIALS, f"list-{_hashed(repr(tried)):016x}"


def _environment(parts: Sequence[SessionEnded], client: Client | None) -> str:
    told = {
        f"{extra.fields.get('name', '')}={extra.fields.get('value', '')}"
        for part in parts
        for extra in part.extras
        if extra.eventid.endswith("client.var")
    }
    if client is not None and client.size:
        told.add(f"{client.size.get('width', '')}x{client.size.get('height', '')}")
    return ";".join(sorted(told))


def network_of(address: str) -> str:
    """The /24 (IPv6: /48) of an address; empty for text that is no address."""
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    kept = _IPV4_NET if found.version == 4 else _IPV6_NET
    number = int(found) >> (found.max_prefixlen - kept) << (found.max_prefixlen - kept)
    return f"{type(found)(number)}/{kept}"
