"""The readers that everybody needs: text, whole number, moment, address, attacker; strict about what comes out.

What a producer meant is read where producers differ (a time as a number or as ISO 8601, an address with a zone);
what cannot be read is None here and a complaint where a record needs it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from decnet.hostile import storable_text
from decnet.ids import attacker_id, attacker_id_as_written, normalize_ip

LATEST = 253_402_300_799.0
"""The last second of the year 9999 (epoch seconds): beyond it no database and no calendar goes."""
MAX_BITS_31 = 2**31


Named = Annotated[str, msgspec.Meta(min_length=1)]
"""Text that names something."""
Count = Annotated[int, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=LATEST)]
"""A span of time; neither infinite nor negative."""
Domain = Annotated[str, msgspec.Meta(pattern=r"^[^@\s/]{0,253}$")]
"""A host name, or nothing; never an address with somebody in front of the ``@``."""
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Simhash = Annotated[str, msgspec.Meta(pattern=r"^(?:[0-9a-f]{8,64})?$")]


class Epoch(float):
    """A moment in epoch seconds (UTC), 0 to the end of the year 9999."""

    __slots__ = ()


def text(value: Any) -> str | None:
    """Text that says something, as both databases store it."""
    return storable_text(value) if isinstance(value, str) and value else None


def number(value: Any) -> float | None:
    """A finite number from a number or from its text; a boolean is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def integer(value: Any) -> int | None:
    """A whole number of at most 31 bits, from a number or from its text."""
    found = number(value)
    return int(found) if found is not None and abs(found) < MAX_BITS_31 else None


_LONGEST_TIME = 64
_LOOSE = re.compile(
    r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})[T ]\s*(\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9}))?"
    r"\s*(Z|UTC|GMT|[+-]\d\d:?\d\d)?",
    re.IGNORECASE | re.ASCII,
)
_WEB = re.compile(r"(\d{1,2})/([A-Za-z]{3})/(\d{4}):(\d\d:\d\d:\d\d)(?: ([+-]\d{4}))?", re.ASCII)


def _moment(text: str) -> tuple[datetime, int]:
    """A time as text, and the seconds that a leap second adds. Raises ValueError for what is none.

    Beside ISO 8601: without leading zeros, with slashes, with the zone as a word, and as mail and web servers write.
    """
    try:
        return datetime.fromisoformat(text), 0
    except ValueError:
        found = _LOOSE.fullmatch(text)
    if found is not None:
        year, _, month, day, hour, minute, second, part, zone = found.groups()
        leap = second == "60"
        clock = f"{int(hour):02}:{int(minute):02}:{59 if leap else int(second):02}.{part or 0}"
        zone = "+00:00" if zone is None or zone[0].isalpha() else zone
        return datetime.fromisoformat(f"{year}-{int(month):02}-{int(day):02}T{clock}{zone}"), int(leap)
    if (web := _WEB.fullmatch(text)) is not None:
        text = f"{web[1]} {web[2]} {web[3]} {web[4]} {web[5] or '+0000'}"
    return parsedate_to_datetime(text), 0


def epoch(value: Any) -> float | None:
    """Epoch seconds from a number or text: ISO 8601 and what is near to it (without a zone it is UTC)."""
    if type(value) is float and 0 <= value <= LATEST:  # what our own sensors write
        return value
    found = None if isinstance(value, str) and "T" in value else number(value)
    if found is None and isinstance(value, datetime):
        found = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if found is None and isinstance(value, str):
        try:
            moment, more = _moment(value.strip()[:_LONGEST_TIME])
            found = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() + more
        except (ValueError, OverflowError):
            return None
    return found if found is not None and 0 <= found <= LATEST else None


@lru_cache(maxsize=65_536)
def _address(value: str) -> str:
    return normalize_ip(storable_text(value))


def address(value: Any) -> str | None:
    """The canonical text of an address; text that is none stays what it is, since a log may hold anything."""
    return _address(value) if isinstance(value, str) and value.strip() else None


def attacker_of(payload: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """(attacker_uuid, address) of a payload: the id is derived from the address where only that is given.

    An id that an earlier version derived from the address before it was folded is derived anew.
    """
    raw = payload.get("attacker_ip")
    ip, uuid = address(raw), text(payload.get("attacker_uuid"))
    if ip is None:
        return uuid, None
    unfolded = uuid is not None and ip != raw and uuid == attacker_id_as_written(str(raw))
    return attacker_id(ip) if uuid is None or unfolded else uuid, ip
