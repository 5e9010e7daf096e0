"""Where an address is, as columns: its country and network by the files of this host. Knows no terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from decnet.intel.places import Places


class Placed(TypedDict):
    """A row with the place of its address."""

    country: str | None
    """Two letters."""
    allocated: bool
    """Whether that is only where the address was given out."""
    asn: int | None
    as_name: str | None
    lists: list[str]
    """The names of the lists that it stands in."""


class PlaceRow(Placed):
    """The place of one address."""

    unasked: str | None
    """Why it was not looked up."""


class Where(TypedDict, total=False):
    """What of the place of an attacker is asked for: a country's two letters, the number of a network."""

    country: str | None
    asn: int | None


def nowhere(unasked: str | None = None) -> PlaceRow:
    """The place of an address of which nothing is known."""
    return {
        "country": None,
        "allocated": False,
        "asn": None,
        "as_name": None,
        "lists": [],
        "unasked": unasked,
    }


def place_row(places: Places, address: str | None) -> PlaceRow:
    """Country, network and lists of an address, as columns; ``unasked`` is why it was not looked up."""
    if address is None:
        return nowhere()
    try:
        place = places.lookup(address)
    except ValueError:
        return nowhere("no")
    return {
        "country": place.country,
        "allocated": place.allocated,
        "asn": place.asn,
        "as_name": place.as_name,
        "lists": list(place.lists),
        "unasked": place.unasked,
    }


def placed(place: PlaceRow) -> Placed:
    """The columns that a list has of a place."""
    return {
        "country": place["country"],
        "allocated": place["allocated"],
        "asn": place["asn"],
        "as_name": place["as_name"],
        "lists": place["lists"],
    }


def country_text(row: Placed) -> str:
    """A country in a column; where it is only where the address was given out, it says so."""
    return "" if row["country"] is None else f"{row['country']}{'(alloc)' if row['allocated'] else ''}"


def network_text(row: Placed) -> str:
    """A network in a column."""
    return "" if row["asn"] is None else f"AS{row['asn']} {row['as_name'] or ''}".rstrip()
