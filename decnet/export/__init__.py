"""Tags for other tools: Navigator layers, STIX bundles, MISP events, CSV and JSON lines.

Pure functions of rows and counts as the repository gives them; who reads these and writes the file is elsewhere. Beside
them :mod:`~decnet.export.archive` saves a whole data directory.
"""

from __future__ import annotations

from decnet.export.known import Known, OneKnown, one_known
from decnet.export.misp import misp_event
from decnet.export.navigator import navigator_layer, seen_counted, seen_in
from decnet.export.stix import stix_bundle
from decnet.export.tables import csv_cells, csv_head, csv_page, json_page

__all__ = [
    "Known",
    "OneKnown",
    "csv_cells",
    "csv_head",
    "csv_page",
    "json_page",
    "misp_event",
    "navigator_layer",
    "one_known",
    "seen_counted",
    "seen_in",
    "stix_bundle",
]
