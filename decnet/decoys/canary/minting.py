"""The kinds of tokens: what file a slug becomes, and what the settings have to say for it. Pure.

The row of a token is committed before anybody has its file; the file can be made again at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple
from uuid import NAMESPACE_URL, uuid5

from decnet.config import Settings
from decnet.db.rows.canary import TokenRow
from decnet.decoys.canary.baits import keys, office, texts
from decnet.decoys.canary.slugs import new_slug
from decnet.errors import ConfigError


class Places(NamedTuple):
    """Where a token of a slug is found: its URL, its name; the path it lies at says HTML or SVG."""

    slug: str
    base_url: str
    zone: str
    path: str = ""

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"{self.base_url}/i/{self.slug}"

    @property
    def name(self) -> str:
        """The name under the zone."""
        return f"{self.slug}.{self.zone}"


class Kind(NamedTuple):
    """``needs`` is the setting that makes it reachable (empty: it comes back by itself); ``text`` may be shown."""

    needs: str
    file: str
    make: Callable[[Places], str | bytes]
    text: bool = True
    watched: Callable[[str], str] | None = None


_HTTP: Final = "base_url"
_DNS: Final = "zone"
KINDS: Final[dict[str, Kind]] = {
    "url": Kind(_HTTP, "link.txt", lambda p: texts.link(p.url)),
    "pixel": Kind(_HTTP, "pixel.html", lambda p: texts.pixel(p.url)),
    "page": Kind(_HTTP, "access.html", lambda p: texts.page(p.url, p.slug, drawing=p.path.lower().endswith(".svg"))),
    "dns": Kind(_DNS, "name.txt", lambda p: f"{p.name}\n"),
    "docx": Kind(_HTTP, "access.docx", lambda p: office.docx(p.url, p.slug), text=False),
    "xlsx": Kind(_HTTP, "access.xlsx", lambda p: office.xlsx(p.url, p.slug), text=False),
    "pdf": Kind(_HTTP, "access.pdf", lambda p: office.pdf(p.url, p.slug), text=False),
    "git": Kind(_HTTP, "config", lambda p: texts.git(p.url)),
    "kubeconfig": Kind(_HTTP, "config", lambda p: texts.kubeconfig(p.url, p.slug)),
    "env": Kind(_HTTP, ".env", lambda p: texts.env(p.url, p.slug)),
    "wireguard": Kind(_DNS, "wg0.conf", lambda p: texts.wireguard(p.name, p.slug)),
    "sql": Kind(_DNS, "dump.sql", lambda p: texts.sql(p.name, p.slug)),
    "aws": Kind("", "credentials", lambda p: keys.aws_file(p.slug), watched=keys.aws_key_id),
    "ssh": Kind("", "id_ed25519", lambda p: keys.ssh_file(p.slug), watched=keys.ssh_fingerprint),
}  # fmt: skip
_TOKEN_NS = uuid5(NAMESPACE_URL, "decnet:canary-token:v1")
_ID_DIGITS = 8


def minted(kind: str, decky_id: str, *, path: str | None, memo: str | None, at: datetime) -> TokenRow:
    """A fresh token of a known kind; its id is derived from the slug and tells nothing of it."""
    slug = new_slug()
    watched = KINDS[kind].watched
    return {
        "token_id": f"{kind}-{uuid5(_TOKEN_NS, slug).hex[:_ID_DIGITS]}",
        "slug": slug,
        "kind": kind,
        "decky_id": decky_id,
        "path": path,
        "memo": memo,
        "watched": watched(slug) if watched is not None else None,
        "minted_at": at,
        "placed_at": None,
        "revoked_at": None,
        "first_trip_at": None,
        "last_trip_at": None,
        "trips": 0,
        "window_at": None,
        "window_trips": 0,
    }


def check_reachable(kind: str, settings: Settings) -> None:
    """Raises ConfigError where a token of this kind could not come back, with the setting to be made."""
    missing = {
        _HTTP: "decoys.canary_http.base_url: set it to where others reach the listener, such as http://files.example",
        _DNS: "decoys.canary_dns.zone: set it to the zone that is delegated to this host, such as c.example",
    }
    own = settings.decoys
    have = {_HTTP: own.canary_http.base_url, _DNS: own.canary_dns.zone}
    needs = KINDS[kind].needs
    if needs and not have[needs]:
        raise ConfigError(f"a token of the kind {kind} needs {missing[needs]}")


def bait_of(token: TokenRow, settings: Settings) -> bytes:
    """The bytes of a token's file. Raises ConfigError where the settings do not say what stands in it."""
    check_reachable(token["kind"], settings)
    own = settings.decoys
    places = Places(
        token["slug"],
        own.canary_http.base_url or "",
        own.canary_dns.zone or "",
        token["path"] or "",
    )
    made = KINDS[token["kind"]].make(places)
    return made.encode() if isinstance(made, str) else made
