"""``rules coverage``: which ATT&CK techniques the rules can name, as a table or as a Navigator layer.

What a rule can name is read from its emits; what it did name is for ``export``. Rules whose events nothing that
comes with this program makes (``external`` in their files) are named with the reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decnet_tui.cli import common
from decnet_tui.model.words import counted

if TYPE_CHECKING:
    from decnet.attack.catalogue import Catalogue
    from decnet.ttp.rules import CompiledRule

_COLUMNS = ("technique", "name", "tactics", "confidence", "rules")


@dataclass(slots=True)
class _Covered:
    """One technique: by which rules, in which tactics, and how sure the surest of them is."""

    rules: set[str] = field(default_factory=set)
    tactics: set[str] = field(default_factory=set)
    confidence: float = 0.0
    external: set[str] = field(default_factory=set)
    """Those of the rules that need a producer of somebody else's."""


def covered(rules: Iterable[CompiledRule]) -> dict[str, _Covered]:
    """Technique or sub-technique id → what the rules can say about it."""
    found: dict[str, _Covered] = defaultdict(_Covered)
    for rule in rules:
        for emit in rule.emits:
            entry = found[emit.sub_technique_id or emit.technique_id]
            entry.rules.add(rule.rule_id)
            entry.tactics.add(emit.tactic)
            entry.confidence = max(entry.confidence, emit.confidence)
            entry.external |= {rule.rule_id} if rule.external else set()
    return dict(found)


def coverage_rows(rules: Iterable[CompiledRule], known: Catalogue) -> list[dict[str, Any]]:
    """One row a technique, in order of its id."""
    return [
        {
            "technique": technique,
            "name": known.name(technique),
            "tactics": sorted(entry.tactics),
            "confidence": entry.confidence,
            "rules": sorted(entry.rules),
            "external": sorted(entry.external),
        }
        for technique, entry in sorted(covered(rules).items())
    ]


def coverage_layer(rules: Iterable[CompiledRule], known: Catalogue) -> dict[str, Any]:
    """A Navigator layer whose scores are numbers of rules and whose comments name them."""
    from decnet.export.navigator import LayerRow, navigator_layer, seen_in

    rows: list[LayerRow] = [
        {
            "technique_id": emit.technique_id,
            "sub_technique_id": emit.sub_technique_id,
            "tactic": emit.tactic,
            "rule_id": rule.rule_id,
            "identity_uuid": None,
            "attacker_uuid": None,
            "attacker_ip": None,
        }
        for rule in rules
        for emit in rule.emits
    ]
    layer = navigator_layer(
        seen_in(rows), name="decnet-tui rules", description="What the rules can name.", catalogue=known
    )
    by_technique = covered(rules)
    for cell in layer["techniques"]:
        cell["comment"] = " ".join(sorted(by_technique[cell["techniqueID"]].rules))
    return layer


def external_lines(rules: Iterable[CompiledRule]) -> list[str]:
    """What has no producer here and why, one line a rule; empty when there is none."""
    found = [rule for rule in rules if rule.external]
    told = [f"  {rule.rule_id} {rule.name}: {rule.external}" for rule in found]
    return [f"{counted(len(found), 'rule')} without a producer of ours:", *told] if found else []


def coverage(
    as_json: common.AsJson = False,
    navigator: Annotated[
        Path | None, typer.Option("--navigator", metavar="FILE", help="Writes a Navigator layer instead.")
    ] = None,
    rules: common.RulesDir = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Which techniques the rules can name: a table, JSON, or an ATT&CK Navigator layer."""
    from decnet.attack.catalogue import load_catalogue
    from decnet.ttp.loader import load_dir

    settings = common.settings_of(config, data_dir=data_dir, db=db, rules=rules)
    if not settings.rules.is_dir():
        common.fail(f"{settings.rules} is no directory")
    loaded, known = load_dir(settings.rules).rules, load_catalogue()
    if navigator is not None:
        _write(navigator, common.to_json(coverage_layer(loaded, known)))
        return
    rows = coverage_rows(loaded, known)
    common.print_rows(rows, _COLUMNS, as_json, f"no rules in {settings.rules}")
    if not as_json:
        parents = {row["technique"].partition(".")[0] for row in rows}
        tactics = {tactic for row in rows for tactic in row["tactics"]}
        typer.echo(
            f"{counted(len(loaded), 'rule')}, {counted(len(rows), 'technique or sub-technique', 'techniques and sub-techniques')} "
            f"of {counted(len(parents), 'technique')} in {counted(len(tactics), 'tactic')}"
        )
        for line in external_lines(loaded):
            typer.echo(line)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text + "\n", "utf-8")
    except OSError as error:
        common.fail(f"{path}: {error.strerror}")
    typer.echo(f"layer written to {path}")
