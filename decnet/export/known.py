"""What is known beside the tags of an export: where addresses are, identities with their addresses, campaigns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

from decnet.db.rows.linking import ListedCampaign, ListedIdentity
from decnet.db.rows.lists import ListedTag

ADDED = ("country", "allocated", "asn", "as_name", "campaigns", "identity_addresses")
"""Keys that a row of an export has beside those of a tag."""


class ExportPlace(TypedDict):
    """Country and network of an address; ``allocated`` says that the country is only where it was given out."""

    country: str | None
    allocated: bool
    asn: int | None
    as_name: str | None


class Known(NamedTuple):
    """By address, by identity, by campaign; and the ids of the campaigns of each attacker."""

    places: Mapping[str, ExportPlace] = {}
    identities: Mapping[str, ListedIdentity] = {}
    campaigns: Mapping[str, ListedCampaign] = {}
    by_attacker: Mapping[str, Sequence[str]] = {}


NOTHING = Known()
_NOWHERE: ExportPlace = {"country": None, "allocated": False, "asn": None, "as_name": None}


def place_of(row: Mapping[str, Any], known: Known) -> ExportPlace:
    """Where the address of a row is."""
    return known.places.get(str(row.get("attacker_ip")), _NOWHERE)


def campaigns_of(rows: Iterable[Mapping[str, Any]], known: Known) -> list[str]:
    """The campaigns of the attackers of some rows, in order of their ids."""
    attackers = {row.get("attacker_uuid") for row in rows}
    return sorted({one for uuid in attackers if uuid for one in known.by_attacker.get(uuid, ())})


def with_known(row: ListedTag, known: Known) -> dict[str, Any]:
    """A row with :data:`ADDED`; campaigns are ids, those of its address."""
    identity = known.identities.get(str(row.get("identity_uuid")))
    return {
        **row,
        **place_of(row, known),
        "campaigns": campaigns_of([row], known),
        "identity_addresses": list(identity["addresses"]) if identity else [],
    }
