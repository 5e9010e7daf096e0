"""The one secret in a webhook's body: the address of the page on which a Canarytoken can be taken back; pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

SECRET: Final = b"manage_url"
CUT: Final = b"(cut)"
_VALUE = re.compile(rb"(manage_url\\*[\"']?\s{0,9}[:=]\s{0,9}\\*[\"']?)(?:\\+/|[^\"'\\\s])+")


def without_secret(data: bytes) -> bytes:
    """A body with the secret cut out, wherever in it that stands, whether or not the body is whole."""
    if not data.lstrip().startswith((b"{", b"[")):
        data = unquote_to_bytes(data.replace(b"+", b" "))
    return _VALUE.sub(rb"\1" + CUT, data)
