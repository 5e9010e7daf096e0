"""What the listeners see: one hit on a token's secret, before anybody knows whether there is such a token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from decnet.hostile import storable_text

MAX_TEXT: Final = 2048
"""Characters that are kept of a path, a user agent, a name."""


@dataclass(frozen=True, slots=True)
class Hit:
    """``at`` is epoch seconds; ``peer`` an address in its canonical form: a client's own, or that of its resolver.

    ``report`` is what a browser told of itself (:mod:`decnet.decoys.canary.browser`).
    """

    slug: str
    at: float
    peer: str
    via: Literal["http", "dns"]
    user_agent: str = ""
    request_path: str = ""
    dns_qname: str | None = None
    label: str | None = None
    report: Mapping[str, object] | None = None

    @property
    def peer_kind(self) -> Literal["client", "resolver"]:
        """Whose address it is: a name is asked for by a resolver, for somebody else."""
        return "resolver" if self.via == "dns" else "client"


def kept(raw: bytes | str) -> str:
    """Text of a stranger as it is stored: the bytes one by one where they are no UTF-8, and not too many."""
    if isinstance(raw, str):
        return storable_text(raw[:MAX_TEXT])
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return storable_text(text[:MAX_TEXT])
