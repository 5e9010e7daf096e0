"""What one source says of an address, made of whatever its file holds; pure.

Values of a file are taken as they are only if they are what they should be: a country is two letters, the number of a
network is one, a name is text of a bounded length. Anything else is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from decnet.hostile import storable_text

MAX_NAME: Final = 100
"""Characters of a network's name."""
_COUNTRY: Final = re.compile(r"[A-Za-z]{2}\Z")
_NOWHERE: Final = frozenset({"XX", "ZZ"})
"""Codes that stand for no country."""
_ASN: Final = re.compile(r"(?:AS)?([0-9]{1,10})\Z", re.IGNORECASE)
_LAST_ASN: Final = 2**32 - 1


class Said(NamedTuple):
    """One source's answer; a list that holds the address says no more than that."""

    country: str | None = None
    asn: int | None = None
    as_name: str | None = None
    allocated: bool = False
    """Whether ``country`` is where a registry gave the address out, not where it is used."""


LISTED: Final = Said()


def said(country: object, asn: object, as_name: object) -> Said | None:
    """An answer from raw values; None when there is nothing in them. A name without its network's number is none."""
    where, number = country_of(country), asn_of(asn)
    if where is None and number is None:
        return None
    return Said(where, number, name_of(as_name) if number is not None else None)


def country_of(value: object) -> str | None:
    """Two letters in capitals; None for a name, a number, or a code of no country."""
    if not isinstance(value, str) or not _COUNTRY.match(value):
        return None
    code = value.upper()
    return None if code in _NOWHERE else code


def asn_of(value: object) -> int | None:
    """The number of a network from ``13335``, ``"13335"`` or ``"AS13335"``; None for 0, which is nobody's."""
    if isinstance(value, str):
        found = _ASN.match(value.strip())
        value = int(found[1]) if found else None
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 < value <= _LAST_ASN else None


def name_of(value: object) -> str | None:
    """A name without blanks around it, cut to :data:`MAX_NAME` characters."""
    if not isinstance(value, str):
        return None
    return storable_text(value.strip()[:MAX_NAME]) or None


def said_of_record(record: object) -> Said | None:
    """The answer in a record of an mmdb file, in the keys of GeoLite2, DB-IP and IPinfo.

    A record that only knows where the address is registered says so by ``allocated``.
    """
    if not isinstance(record, Mapping):
        return None
    country = record.get("country")
    code = country_of(record.get("country_code")) or _inside(country, "iso_code") or country
    number = record.get("autonomous_system_number", record.get("asn"))
    name = record.get("autonomous_system_organization", record.get("as_name"))
    found = said(code, number, name)
    if found is not None and found.country is not None:
        return found
    registered = country_of(_inside(record.get("registered_country"), "iso_code"))
    if registered is None:
        return found
    return (found or Said())._replace(country=registered, allocated=True)


def _inside(value: object, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None
