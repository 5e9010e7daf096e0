"""What the text of an e-mail speaks of: hosts of links, words of a fixed list, base64, and what tells it from others; pure.

Nothing of the text leaves: markers, host names, counts and hashes do.
"""

from __future__ import annotations

import html
import re
from hashlib import blake2b
from typing import Any, Final, get_args
from urllib.parse import urlsplit

import re2

from decnet.bounds import bit
from decnet.events.email import Marker

MAX_TEXT: Final = 2**20
"""Characters of the text of one message that are looked at."""
MAX_URLS: Final = 2000
"""Links of one message that are looked at."""
MAX_HOSTS: Final = 200
MAX_URL: Final = 2048
MAX_WORDS: Final = 2000
"""Words that the hash of a body is made of."""
BROKEN, LINKS = "mail_urls_broken", "mail_urls_capped"
_URL: Final = re.compile(r"""\b(?:https?|ftp)://[^\s<>"'`\\]+""", re.IGNORECASE)
_TAG: Final = re.compile(r"<[^<>]*>")
_UNSEEN: Final = re.compile(r"<(?:script|style)\b[^<>]*>[^<]*", re.IGNORECASE)
_LONG_ENTITY: Final = re.compile(r"&#[xX]?[0-9a-fA-F]{8,};?")
_HOST: Final = re.compile(r"[^\x00-\x20\x7f@\s/:\[\]<>()\"'\\,;]{1,253}")
_WORD: Final = re.compile(r"\w+")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{40,}={0,2}")
_PATTERNS: Final = {
    "ransom": r"\bransom",
    "decrypt": r"\bdecrypt",
    "bitcoin": r"\bbitcoins?\b|\bbtc\b",
    "monero": r"\bmonero\b|\bxmr\b",
    "wallet": r"\bwallets?\b",
    "pay_to_recover": r"\bpay(?:ment)?\b[^.!?]{0,80}\b(?:recover|restore|unlock|release|get back)"
    r"|\b(?:recover|restore|unlock)\b[^.!?]{0,80}\bpay(?:ment)?\b",
    "btc_address": r"(?-i:\b(?:bc1[02-9ac-hj-np-z]{11,71}|[13][1-9A-HJ-NP-Za-km-z]{25,34})\b)",
    "xmr_address": r"(?-i:\b[48][0-9AB][1-9A-HJ-NP-Za-km-z]{93}\b)",
    "wire_transfer": r"\bwire transfers?\b|\bbank transfer\b|\bwire (?:the )?(?:money|funds|amount|payment)\b",
    "bank_details": r"\bbank(?:ing)? (?:details?|information)\b|\biban\b|\b(?:swift|sort) code\b|\brouting number\b",
    "gift_card": r"\bgift ?cards?\b",
    "payroll": r"\bpayroll\b|\bdirect deposit\b",
    "invoice": r"\binvoices?\b",
    "urgent": r"\burgent(?:ly)?\b|\bas soon as possible\b|\basap\b",
    "confidential": r"\bconfidential(?:ly|ity)?\b",
    "change_of_account": r"\b(?:new|changed|updated|different) (?:bank(?:ing)? )?account\b"
    r"|\b(?:new|changed|updated) bank(?:ing)? (?:details|information)\b"
    r"|\bchanged? (?:of |to |in )?(?:our |the |your |my )?(?:bank(?:ing)? )?(?:account|details)\b",
}
_MARKERS: Final[list[tuple[Marker, Any]]] = [
    (marker, re2.compile(f"(?i){_PATTERNS[marker]}")) for marker in get_args(Marker)
]


def shown(page: str) -> str:
    """The text of an HTML page that people see."""
    return unescaped(_TAG.sub(" ", _UNSEEN.sub(" ", page)))


def unescaped(page: str) -> str:
    """A page with its character references resolved; a number that is none would be an error."""
    return html.unescape(_LONG_ENTITY.sub("\ufffd", page))


def markers(text: str) -> list[Marker]:
    """The words of the list that a text has, in the list's order."""
    said = " ".join(text[:MAX_TEXT].split())
    return [marker for marker, pattern in _MARKERS if pattern.search(said)]


def hosts(text: str) -> list[str]:
    """Hosts of the links in a text, each once and in order of sight, in the form that names are asked for.

    A link that cannot be read is counted and costs the others nothing; an IPv6 address in brackets is no name.
    """
    found: dict[str, None] = {}
    for count, link in enumerate(_URL.finditer(text[:MAX_TEXT])):
        if count >= MAX_URLS or len(found) >= MAX_HOSTS:
            bit(LINKS)
            break
        name = _host(link[0][:MAX_URL])
        if name is None:
            bit(BROKEN)
        elif name:
            found[name] = None
    return list(found)


def _host(url: str) -> str | None:
    """The host of a link; empty for an IPv6 address, None where there is none that could be read."""
    try:
        name = urlsplit(url.rstrip(").,;:!?]}") if "[" not in url else url).hostname or ""
    except ValueError:
        return None
    return "" if ":" in name else domain(name) or None


def domain(name: str) -> str:
    """A host name in the form of the DNS (lower case, punycode); empty for what is none."""
    name = name.strip().rstrip(".").lower()
    if name.isascii():
        return name if _HOST.fullmatch(name) else ""
    if len(name) > 253:
        return ""
    try:
        found = name.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return ""
    return found if _HOST.fullmatch(found) else ""


def base64_bytes(text: str) -> int:
    """Decoded bytes of what looks like lines of base64 in a text."""
    return sum(len(found[0].rstrip("=")) * 3 // 4 for found in _BASE64.finditer(text[:MAX_TEXT]))


def simhash(text: str) -> str:
    """16 hex digits that texts of the same words share, whatever numbers are in them; empty without words."""
    words = [word for found in _WORD.finditer(text[:MAX_TEXT]) if not (word := found[0].lower()).isdigit()]
    words = words[:MAX_WORDS]
    if not words:
        return ""
    sums = [0] * 64
    for i in range(max(len(words) - 2, 1)):
        digest = blake2b(" ".join(words[i : i + 3]).encode("utf-8", "replace"), digest_size=8).digest()
        value = int.from_bytes(digest, "big")
        for place in range(64):
            sums[place] += 1 if value >> place & 1 else -1
    return f"{sum(1 << place for place, total in enumerate(sums) if total > 0):016x}"
