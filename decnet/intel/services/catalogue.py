"""All services that can be asked, by name; the name is that of the section of settings too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from decnet.intel.services.abuseipdb import ABUSEIPDB
from decnet.intel.services.base import Service
from decnet.intel.services.feodo import FEODO
from decnet.intel.services.greynoise import GREYNOISE
from decnet.intel.services.threatfox import THREATFOX
from decnet.intel.services.urlhaus import URLHAUS
from decnet.intel.services.virustotal import VIRUSTOTAL

SERVICES: Final[Mapping[str, Service]] = {
    one.name: one for one in (GREYNOISE, ABUSEIPDB, VIRUSTOTAL, URLHAUS, THREATFOX, FEODO)
}
