"""Where an address is, by whom that is said, how old that is, and which lists it stands on.

Private, documentation and other special addresses (:func:`decnet.addresses.special`) are never looked up. Of several
files that know a country the first of the settings counts, then the one of the newest data; a registry's allocation
counts only where no file knows the country.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_network
from typing import Any, Final, NamedTuple

from decnet.addresses import fold, special
from decnet.config import Settings
from decnet.intel import registry
from decnet.intel.answers import LISTED, Said
from decnet.intel.library import Library, Source
from decnet.intel.ranges import Builder, bounds_in, number_of

OWN: Final = "own"
"""The list of the setting ``intel.own_networks``."""


class Origin(NamedTuple):
    """Who says something, and when its data were made (epoch seconds; None when nobody knows)."""

    name: str
    kind: str
    dated: float | None

    def age_s(self, now: float) -> float | None:
        """Seconds since the data were made."""
        return None if self.dated is None else max(0.0, round(now - self.dated, 1))


class Place(NamedTuple):
    """What is known of one address; every part says where it is from."""

    address: str
    unasked: str | None = None
    """Why it was not looked up: the kind of special address that it is."""
    country: str | None = None
    country_from: Origin | None = None
    allocated: bool = False
    """Whether the country is where a registry gave the address out, not where it is used."""
    asn: int | None = None
    as_name: str | None = None
    asn_from: Origin | None = None
    lists: tuple[str, ...] = ()

    def row(self, now: float) -> dict[str, Any]:
        """As columns of a list, ages in seconds at ``now``."""
        return {
            "address": self.address,
            "unasked": self.unasked,
            "country": self.country,
            "allocated": self.allocated,
            "country_source": self.country_from.name if self.country_from else None,
            "country_age_s": self.country_from.age_s(now) if self.country_from else None,
            "asn": self.asn,
            "as_name": self.as_name,
            "as_source": self.asn_from.name if self.asn_from else None,
            "as_age_s": self.asn_from.age_s(now) if self.asn_from else None,
            "lists": list(self.lists),
        }


class Asked(NamedTuple):
    """One source and what it says of an address; ``said`` is None for no answer."""

    origin: Origin
    listing: bool
    said: Said | None
    source: Source | None
    """The file; None for the settings and for the registries' table."""


_Ask = Callable[[str, int], Said | None]


class Places:
    """Answers of all files together. Looking up reads no file; :meth:`refresh` does."""

    def __init__(
        self, library: Library, own_networks: Sequence[str] = (), *, documentation: bool = False
    ) -> None:
        self.library = library
        self._documentation = documentation
        own = Builder()
        for text in own_networks:
            own.add(*bounds_in(ip_network(text, strict=False)), 0)
        self._own = own.made()
        self._places: tuple[tuple[Origin, _Ask], ...] = ()
        self._lists: tuple[tuple[str, _Ask], ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> Places:
        """For the files and networks of the settings, read already."""
        asked = settings.intel
        made = cls(
            Library(asked, settings.intel_folder), asked.own_networks, documentation=asked.documentation
        )
        made.refresh()
        return made

    def refresh(self) -> list[Source]:
        """Takes over files that changed; the sources that are other than before."""
        if changed := self.library.refresh():
            ready = [
                (source, source.content) for source in self.library.sources if source.content is not None
            ]
            ready.sort(key=lambda pair: (pair[0].rank, -(pair[0].dated or 0.0), pair[0].name))
            self._places = tuple((origin_of(s), c.said_of) for s, c in ready if not c.listing)
            self._lists = tuple((s.name, c.said_of) for s, c in ready if c.listing)
        return changed

    def lookup(self, ip: str) -> Place:
        """What is known of an address. Raises ValueError for text that is none."""
        address, number = _address(ip)
        if (unasked := special(address)) and not (self._documentation and unasked == "documentation"):
            return Place(address, unasked, lists=(OWN,) if self._is_own(number) else ())
        country, country_from, named, asn_from = Said(), None, Said(), None
        for origin, ask in self._places:
            said = ask(address, number)
            if said is None:
                continue
            if said.country and (country_from is None or (country.allocated and not said.allocated)):
                country, country_from = said, origin
            if said.asn and asn_from is None:
                named, asn_from = said, origin
            if country_from and asn_from and not country.allocated:
                break
        if country_from is None and (given := registry.allocated_in(address)):
            country, country_from = given, registry_origin()
        lists = self._lists_of(address, number)
        return Place(
            address,
            None,
            country.country,
            country_from,
            country.allocated,
            named.asn,
            named.as_name,
            asn_from,
            lists,
        )

    def ask_all(self, ip: str) -> Iterator[Asked]:
        """What each source says of an address, also of one that is not looked up. Raises ValueError like :meth:`lookup`."""
        address, number = _address(ip)
        public = special(address) is None
        if len(self._own):
            yield Asked(Origin(OWN, "setting", None), True, LISTED if self._is_own(number) else None, None)
        for source in self.library.sources:
            content = source.content
            said = content.said_of(address, number) if content is not None and public else None
            yield Asked(origin_of(source), content is not None and content.listing, said, source)
        yield Asked(registry_origin(), False, registry.allocated_in(address) if public else None, None)

    def _is_own(self, number: int) -> bool:
        return self._own.at(number) >= 0

    def _lists_of(self, address: str, number: int) -> tuple[str, ...]:
        names = [name for name, ask in self._lists if ask(address, number) is not None]
        if self._is_own(number):
            names.insert(0, OWN)
        return tuple(dict.fromkeys(names))


def origin_of(source: Source) -> Origin:
    """Name, kind and age of what a file says."""
    return Origin(source.name, source.kind, source.dated)


def registry_origin() -> Origin:
    """The registries' table; its age is that of the installed package, which does not tell it."""
    return Origin(f"{registry.NAME} {registry.release()}", "registry", None)


def _address(ip: str) -> tuple[str, int]:
    address = fold(ip)
    if address is None:
        raise ValueError(f"{ip!r:.60} is no address")
    return address, number_of(address)
