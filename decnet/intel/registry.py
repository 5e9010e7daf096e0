"""The country that a registry gave an address out to, from the table that the package ``iptocc`` brings along.

That is where a network was registered, not where it is used: whoever shows it says "allocated in". The table is as old
as the installed package, which does not tell its date.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import version

import iptocc

from decnet.intel.answers import Said, country_of

NAME = "iptocc"


def allocated_in(address: str) -> Said | None:
    """The registry's country of a canonical address; None when nobody has it."""
    country = country_of(iptocc.country_code(address))
    return None if country is None else Said(country=country, allocated=True)


@lru_cache(maxsize=1)
def release() -> str:
    """Version of the table."""
    return version("iptocc")
