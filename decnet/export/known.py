"""What is known beside the tags of an export: where addresses are, identities with their addresses, campaigns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

from decnet.db.rows.linking import ListedCampaign, ListedIdentity


class ExportPlace(TypedDict):
    """Country and network of an address; ``allocated`` says that the country is only where it was given out."""

    country: str | None
    allocated: bool
    asn: int | None
    as_name: str | None


class Known(NamedTuple):
    """By address, by identity, by campaign; and of each attacker the ids of its campaigns, its payload hosts and its files."""

    places: Mapping[str, ExportPlace] = {}
    identities: Mapping[str, ListedIdentity] = {}
    campaigns: Mapping[str, ListedCampaign] = {}
    by_attacker: Mapping[str, Sequence[str]] = {}
    hosts: Mapping[str, Sequence[str]] = {}
    hashes: Mapping[str, Sequence[str]] = {}


NOTHING = Known()
_NOWHERE: ExportPlace = {"country": None, "allocated": False, "asn": None, "as_name": None}


def place_of(row: Mapping[str, Any], known: Known) -> ExportPlace:
    """Where the address of a row is."""
    return known.places.get(str(row.get("attacker_ip")), _NOWHERE)


class OneKnown(NamedTuple):
    """Whose a tag is: what stands beside it in tables. ``campaigns`` are ids, those of its address."""

    attacker_ip: str | None
    identity_uuid: str | None
    country: str | None
    allocated: bool
    asn: int | None
    as_name: str | None
    campaigns: Sequence[str]
    identity_addresses: Sequence[str]


def one_known(attacker: str | None, ip: str | None, identity: str | None, known: Known) -> OneKnown:
    """What is known of an attacker with an address, and of the identity that it is now."""
    place = known.places.get(ip, _NOWHERE) if ip else _NOWHERE
    whole = known.identities.get(identity) if identity else None
    campaigns = sorted(set(known.by_attacker.get(attacker, ()))) if attacker else []
    addresses = list(whole["addresses"]) if whole else []
    where = (place["country"], place["allocated"], place["asn"], place["as_name"])
    return OneKnown(ip, identity, *where, campaigns, addresses)
