"""From the bytes of a message and its envelope to the record of ``email.received``; pure.

Hashes, counts, hosts and words of a fixed list: no address, no body, no file name leaves. Whether a signature or a
sending host is right would need the internet: ``dkim_pass`` and ``spf_pass`` stay unknown.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Sequence
from email.utils import getaddresses
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple

from decnet.events.email import Received
from decnet.hostile import storable_text
from decnet.ids import attacker_id, normalize_ip
from decnet.mail import files, mime, words
from decnet.mail.mime import Part

SERVICE: Final = "smtp"
MAX_SUBJECT: Final = 998
MAX_MAILER: Final = 200
MAX_DOMAINS: Final = 100
MAX_FILES: Final = 100
"""Hashes and extensions of one message that are told; the count is of all."""
BOUNDS: Final = (mime.DEPTH, mime.PARTS, mime.HEAD, files.LISTS, words.BROKEN, words.LINKS)
"""What may have been left out of messages, by the names in health."""
MAX_ADDRESSES: Final = 2048
"""Characters of a list of addresses that are read."""
_DOMAIN: Final = re.compile(r"@([^\s<>@,;:()\"]+)")
_PAGES: Final = frozenset({"htm", "html", "xhtml", "shtml", "svg", "hta", "mht", "mhtml", "js"})


class Envelope(NamedTuple):
    """Who handed a message over, and for whom; ``mail_from`` and ``rcpts`` are addresses as they were said."""

    peer: str
    """Address of the sending host."""
    decky_id: str | None = None
    mail_from: str = ""
    rcpt_count: int = 0
    rcpts: Sequence[str] = ()
    """Recipients, some of them where there were very many."""


def body_hash(data: bytes) -> str:
    """SHA-256 of a message's body in hex; of all of it where it has no body."""
    body = mime.whole(data).raw
    return hashlib.sha256(body or data).hexdigest()


def received(
    data: bytes, envelope: Envelope, source_id: str | None = None, known_bad: Container[str] = ()
) -> Received:
    """The facts of one message; ``known_bad`` are SHA-256 of files that are known to be bad. Never raises for bytes."""
    message = mime.whole(data)
    parts = mime.leaves(message)
    attached = [part for part in parts if part.attached]
    contents = [part.content() for part in attached]
    looks = [files.look(content) for content in contents]
    hashes = [hashlib.sha256(content).hexdigest() for content in contents]
    said = _Said([part for part in parts if not part.attached])
    return Received(
        attacker_uuid=attacker_id(envelope.peer),
        attacker_ip=normalize_ip(envelope.peer),
        decky_id=envelope.decky_id,
        service=SERVICE,
        source_id=source_id,
        subject=_text(message, "subject", MAX_SUBJECT),
        from_domain=domain_of(message.header("from") or ""),
        mail_from_domain=domain_of(envelope.mail_from),
        return_path_domain=domain_of(message.header("return-path") or ""),
        rcpt_count=envelope.rcpt_count,
        rcpt_domains=sorted({found for rcpt in envelope.rcpts if (found := domain_of(rcpt))})[:MAX_DOMAINS],
        x_mailer=_text(message, "x-mailer", MAX_MAILER),
        dkim_signed=message.header("dkim-signature") is not None,
        urls=words.hosts(said.links),
        attachment_count=len(attached),
        attachment_sha256s=list(dict.fromkeys(hashes))[:MAX_FILES],
        attachment_extensions=list(dict.fromkeys(filter(None, map(_extension, attached))))[:MAX_FILES],
        attachment_macros=any(one.macros for one in looks),
        attachment_password_protected=any(one.locked for one in looks),
        html_smuggling=any(files.smuggles(part.content()) for part in parts if _is_page(part)),
        mal_hash_match=any(one in known_bad for one in hashes),
        body_simhash=words.simhash(said.text),
        body_sha256=hashlib.sha256(message.raw).hexdigest() if message.raw else None,
        body_base64_bytes=sum(map(_encoded, parts)),
        body_markers=words.markers(said.text),
    )


def domain_of(address: str) -> str:
    """The domain of the first mail address in a header or a command, in the form of the DNS; empty without one."""
    short = address[:MAX_ADDRESSES]
    try:
        names = [found.rpartition("@")[2] for _, found in getaddresses([short]) if "@" in found]
    except (RecursionError, IndexError):  # comments within comments
        names = _DOMAIN.findall(short)
    return words.domain(names[0]) if names else ""


def link_local(helo: str) -> str | None:
    """The link-local IPv6 address that a greeting gives away (``[IPv6:fe80::1]``), in its one spelling; else None."""
    text = helo.strip().strip("[]")
    text = text[5:] if text[:5].lower() == "ipv6:" else text
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return str(found) if isinstance(found, IPv6Address) and found.is_link_local else None


class _Said:
    """The text of a message: as people see it, and with what its links are in."""

    def __init__(self, parts: Sequence[Part]) -> None:
        texts = [(part.kind == "text/html", part.text()) for part in parts]
        self.text = "\n".join(words.shown(text) if page else text for page, text in texts)
        self.links = "\n".join(words.unescaped(text) if page else text for page, text in texts)


def _text(message: Part, name: str, limit: int) -> str:
    return storable_text((message.header(name) or "")[:limit])


def _extension(part: Part) -> str:
    return files.extension(part.name)


def _is_page(part: Part) -> bool:
    return part.kind in ("text/html", "image/svg+xml", "application/xhtml+xml") or _extension(part) in _PAGES


def _encoded(part: Part) -> int:
    """Decoded bytes of base64 in one part: all of it, or what its text has."""
    if part.encoding == "base64":
        return len(part.content())
    return words.base64_bytes(part.text()) if part.kind.startswith("text/") else 0
