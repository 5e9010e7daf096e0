"""What in a line or a URL belongs to somebody: the host of a URL, public keys by their fingerprints; pure.

Whether such a thing is new, and who else has it, is left to those who keep them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

_KEY = re.compile(r"(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp\d{3})\s+(AAAA[A-Za-z0-9+/]{20,20000}={0,2})")
_KEYS_OF_A_LINE = 16


def host_of(url: str) -> str:
    """Host of a URL in lower case, empty when it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def names_of_file(item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What services may know a file of a session by, as (``sha256`` or ``url``, value)."""
    for name in ("sha256", "url"):
        if item.get(name):
            yield name, str(item[name]).lower() if name == "sha256" else str(item[name])


def public_keys(lines: Iterable[str]) -> Iterator[str]:
    """The fingerprints of the public keys that lines hold, as ``ssh-keygen -l`` writes them; at most 16 of a line."""
    for line in lines:
        if "AAAA" not in line:
            continue
        for place, found in enumerate(_KEY.finditer(line)):
            if place >= _KEYS_OF_A_LINE:
                break
            yield _fingerprint(found[1])


def _fingerprint(blob: str) -> str:
    try:
        raw = base64.b64decode(blob + "=" * (-len(blob) % 4))
    except (ValueError, binascii.Error):
        raw = blob.encode()
    return "SHA256:" + base64.b64encode(hashlib.sha256(raw).digest()).decode().rstrip("=")
