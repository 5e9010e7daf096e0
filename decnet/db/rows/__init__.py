"""What reads of the repository give: one typed dictionary for each kind of row, by the subject of its tables.

Rows stay plain dictionaries, so that they cost nothing and are JSON as they are; their keys and types are known
to the type checker. The names of the keys are those of the columns. The repository checks once for each query
that its columns are the keys of the row that it promises.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

JsonObject: TypeAlias = Mapping[str, object]
"""The content of a JSON column whose keys only its writer knows: who reads it has to look what a value is."""
