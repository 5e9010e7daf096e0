"""What all tests share: property tests are judged by what they find, not by how fast a busy machine draws examples.

What bounds have bitten is counted for the process: each test begins with nothing bitten. Logging is set up before any
test captures it.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

import decnet.loglines  # noqa: F401
from decnet.bounds import BITES

settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def _nothing_bitten() -> None:
    BITES.clear()
