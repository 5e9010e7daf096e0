"""Rules whose events nothing that comes with this program makes, by the techniques that they name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from decnet.db.rows.ttp import RuleDefinition
from decnet.yaml_places import parse_strict


def externals(definitions: Iterable[RuleDefinition]) -> dict[str, list[str]]:
    """Technique (of a sub-technique both ids) → a line for each such rule: its id, its name and why."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in definitions:
        document, _ = parse_strict(row["yaml"] or "", row["file"] or "")
        rule = document.value if document is not None else None
        if not isinstance(rule, dict) or not rule.get("external"):
            continue
        emits = rule.get("emits")
        for emit in emits if isinstance(emits, list) else ():
            named = (
                {emit.get("technique_id"), emit.get("sub_technique_id")} if isinstance(emit, dict) else set()
            )
            for technique in sorted(one for one in named if isinstance(one, str)):
                found[technique].append(f"{row['rule_id']} {row['name']}: {rule['external']}")
    return dict(found)
