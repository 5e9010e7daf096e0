"""The registries' table that the package brings along answers for public addresses of both families and nothing else."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from decnet.intel.answers import Said
from decnet.intel.registry import allocated_in, release


@pytest.mark.parametrize(
    ("ip", "country"),
    [("8.8.8.8", "US"), ("193.0.6.139", "NL"), ("2001:67c:2e8::1", "NL"), ("2001:4860::1", "US")],
)
def test_a_public_address_is_allocated_in_a_country(ip: str, country: str) -> None:
    assert allocated_in(ip) == Said(country, allocated=True)


@pytest.mark.parametrize("ip", ["10.0.0.1", "127.0.0.1", "::1", "fe80::1", "240.0.0.1", "2001:db8::1"])
def test_an_address_of_nobody_is_not(ip: str) -> None:
    assert allocated_in(ip) is None


def test_its_age_is_that_of_the_package() -> None:
    assert release() == version("iptocc")
