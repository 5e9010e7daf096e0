"""Tags for other tools: Navigator layers, STIX bundles, CSV and JSON lines.

Pure functions of rows as the ``tags`` list gives them; who reads the rows and writes the file is elsewhere.
"""

from __future__ import annotations

from decnet.export.known import Known
from decnet.export.navigator import navigator_layer
from decnet.export.stix import stix_bundle
from decnet.export.tables import csv_lines, json_lines

__all__ = ["Known", "csv_lines", "json_lines", "navigator_layer", "stix_bundle"]
