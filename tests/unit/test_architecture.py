"""The house as architecture.md draws it: no private name crosses a module, contracts cover all, rows are typed."""

from __future__ import annotations

import ast
import inspect
import tomllib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest
from sqlmodel import SQLModel

from decnet.db.repository import BaseRepository
from decnet.db.repository.base import SqlRepository, check_keys, shaped
from decnet.db.rows import attribution, behave, canary, fleet, ignored, journal, recorder, runtime, since, ttp
from decnet.db.schema import attribution as attribution_tables
from decnet.db.schema import behave as behave_tables
from decnet.db.schema import canary as canary_tables
from decnet.db.schema import fleet as fleet_tables
from decnet.db.schema import ignored as ignored_tables
from decnet.db.schema import journal as journal_tables
from decnet.db.schema import runtime as runtime_tables
from decnet.db.schema import ttp as ttp_tables

ROOT = Path(__file__).parents[2]
PACKAGES = ("decnet", "decnet_tui")
WHOLE_TABLES = [
    (attribution.PrimitiveState, attribution_tables.AttributionState),
    (attribution.SessionFeatures, attribution_tables.SessionFeature),
    (attribution.Alert, attribution_tables.AttributionAlert),
    (behave.ExtractedSession, behave_tables.BehaveSession),
    (behave.PartOfSession, behave_tables.BehavePart),
    (canary.TokenRow, canary_tables.CanaryToken),
    (canary.TriggerRow, canary_tables.CanaryTrigger),
    (fleet.TopologyRow, fleet_tables.Topology),
    (fleet.DeckyRow, fleet_tables.Decky),
    (fleet.MutationRow, fleet_tables.Mutation),
    (ignored.IgnoredEntry, ignored_tables.IgnoredSource),
    (journal.JournalLine, journal_tables.JournalEntry),
    (runtime.StoredDeadLetter, runtime_tables.DeadLetter),
    (runtime.Heartbeat, runtime_tables.WorkerHeartbeat),
    (runtime.DueMark, runtime_tables.ProducerDue),
    (ttp.RuleDefinition, ttp_tables.TTPRule),
    (ttp.StoredRuleState, ttp_tables.TTPRuleState),
    (ttp.WindowHitFacts, ttp_tables.WindowHitRow),
    (ttp.MailBody, ttp_tables.EmailBody),
]
"""Rows that are a table's columns, all of them."""
PLAIN = {str, int, float, bool, bytes, datetime, NoneType}


def modules() -> dict[str, ast.Module]:
    """Every module of the product by its name, parsed."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = modules()


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def private_imports(module: str, tree: ast.Module) -> Iterator[str]:
    """Private names that a module takes from another one: imported, or reached through the imported module."""
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
            for alias in node.names:
                if is_private(alias.name):
                    yield f"{module}:{node.lineno} imports {node.module}.{alias.name}"
                bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and is_private(node.attr):
            owner = bound.get(node.value.id, "")
            if owner in MODULES:
                yield f"{module}:{node.lineno} reaches {owner}.{node.attr}"


def test_no_module_takes_a_private_name_of_another() -> None:
    assert [found for name, tree in MODULES.items() for found in private_imports(name, tree)] == []


@pytest.mark.parametrize(
    "source",
    [
        "from decnet.ids import _namespace",
        "def later() -> None:\n    from decnet.db.engine import Database as D, _driver_url as url",
        "from decnet.db import engine\nengine._driver_url('x')",
    ],
)
def test_a_private_name_of_another_module_would_be_found(source: str) -> None:
    assert len(list(private_imports("somewhere", ast.parse(source)))) == 1


def contract(name: str) -> dict[str, Any]:
    """An import contract by the beginning of its name."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (found,) = [each for each in settings["contracts"] if each["name"].startswith(name)]
    return found  # type: ignore[no-any-return]


def floors(layers: list[str]) -> set[str]:
    """The modules of a contract's layers; brackets mark what may be missing."""
    return {part.strip(" ()") for layer in layers for part in layer.replace("|", ":").split(":")}


def stands_on(module: str, named: set[str]) -> bool:
    """Whether a floor is the module, or holds it."""
    return any(f"{module}.".startswith(f"{floor}.") for floor in named)


def test_every_module_stands_on_a_floor_of_the_import_contracts() -> None:
    named = floors(contract("floors")["layers"])
    assert {name for name in MODULES if name not in PACKAGES and not stands_on(name, named)} == set()
    assert not stands_on("decnet.attic", named), "a new room needs a floor"
    assert not stands_on("decnet.engine_room", named)
    assert not stands_on("decnet_tui.loose", named), "the console's modules are in rooms"


def public_methods() -> dict[str, inspect.Signature]:
    """What callers of the repository see."""
    found = inspect.getmembers(BaseRepository, inspect.isfunction)
    return {name: inspect.signature(method) for name, method in found if not name.startswith("_")}


def loose(annotation: str) -> bool:
    """Whether an annotation lets anything pass."""
    names = {node.id for node in ast.walk(ast.parse(annotation)) if isinstance(node, ast.Name)}
    return bool(names & {"Any", "Row"})


def test_no_method_of_the_repository_takes_or_gives_untyped_rows() -> None:
    wrong = {
        f"{name}({parameter.name}: {parameter.annotation})"
        for name, signature in public_methods().items()
        for parameter in signature.parameters.values()
        if parameter.annotation is not inspect.Parameter.empty and loose(str(parameter.annotation))
    }
    wrong |= {
        f"{name} -> {signature.return_annotation}"
        for name, signature in public_methods().items()
        if loose(str(signature.return_annotation))
    }
    assert wrong == set()
    assert len(public_methods()) > 100, "all parts are looked at"
    assert loose("list[dict[str, Any]]")
    assert loose("Row | None")
    assert not loose("dict[str, StoredRuleState]")


def test_what_the_parts_of_the_repository_share_stays_among_them() -> None:
    """The untyped row on its way through the repository is one of these names."""
    outside = {
        f"{name}:{node.lineno}"
        for name, tree in MODULES.items()
        if not name.startswith("decnet.db.repository")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "decnet.db.repository.base"
    }
    assert outside == set()


def test_the_contract_stands_on_the_shared_machinery() -> None:
    assert issubclass(BaseRepository, SqlRepository)


def parts(annotation: Any) -> set[Any]:
    return set(get_args(annotation)) or {annotation}


@pytest.mark.parametrize(("row", "table"), WHOLE_TABLES, ids=lambda kind: kind.__name__)
def test_a_row_has_the_columns_of_its_table_with_their_types(row: type, table: type[SQLModel]) -> None:
    hints, fields = get_type_hints(row), table.model_fields
    assert hints.keys() == fields.keys()
    keys = {column.name for column in SQLModel.metadata.tables[str(table.__tablename__)].primary_key}
    for name, hint in hints.items():
        column = parts(fields[name].annotation)
        if name in keys:
            column -= {NoneType}  # a number that the database counts up is there once a row is read
        if column <= PLAIN:
            assert parts(hint) == column, name


def test_a_query_that_does_not_give_what_its_row_promises_is_refused() -> None:
    whole = {"technique": "T1", "first_seen": None, "tags": 1, "attackers": 1}
    check_keys(since.NewTechnique, whole)
    assert shaped(since.NewTechnique, whole) is whole
    with pytest.raises(TypeError, match=r"NewTechnique and its query differ in actors, attackers"):
        check_keys(since.NewTechnique, [*(whole.keys() - {"attackers"}), "actors"])
    with pytest.raises(TypeError, match="differ in tags"):
        shaped(since.NewTechnique, {name: value for name, value in whole.items() if name != "tags"})
    command = {"id": "c", "command_text": "id"}
    assert shaped(recorder.EndedCommand, command) is command, "what may be missing may be missing"
    with pytest.raises(TypeError, match="EndedCommand and its query differ in position"):
        shaped(recorder.EndedCommand, {**command, "position": 1})
