"""Rule rows for lists: from the engine's database, or from the files when no engine runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.errors import RuleError
from decnet.ttp.loader import LoadResult, load_dir
from decnet.ttp.rules import CompiledRule
from decnet_tui.store import RepositoryRules, effective_state


async def rule_rows(settings: Settings, repo: BaseRepository | None, *, engine: bool) -> list[dict[str, Any]]:
    """:func:`all_rows` with expiries as the aware times that lists show."""
    return [
        row | {"expires_at": _aware(row.get("expires_at"))}
        for row in await all_rows(settings, repo, engine=engine)
    ]


def _aware(epoch_s: Any) -> datetime | None:
    return None if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC)


async def all_rows(
    settings: Settings, repo: BaseRepository | None, *, engine: bool, loaded: LoadResult | None = None
) -> list[dict[str, Any]]:
    """All rules by id with state and counts, then the files that did not load; expiries in epoch seconds.

    With an ``engine`` its own view counts: it holds the last good version of a broken file. Without one
    the files are read, unless ``loaded`` is what they gave a moment ago.
    """
    if engine and repo is not None:
        return [dict(row) for row in await RepositoryRules(repo, actor="cli").list_rules()]
    loaded = loaded or load_dir(settings.rules)
    states = await repo.rule_states() if repo is not None else {}
    rows = [_row(rule) | effective_state(states.get(rule.rule_id)) for rule in loaded.rules]
    return sorted(rows, key=lambda row: str(row["rule_id"])) + _broken(loaded.errors)


def _row(rule: CompiledRule) -> dict[str, Any]:
    return {
        "rule_id": rule.rule_id,
        "rule_version": rule.rule_version,
        "name": rule.name,
        "file": rule.file,
        "error": None,
        "fired_24h": 0,
        "yaml": rule.source,
    }


def _broken(errors: list[RuleError]) -> list[dict[str, Any]]:
    """One row for each file that did not load; all of its errors together."""
    by_file: dict[str, list[RuleError]] = {}
    for error in errors:
        by_file.setdefault(error.place.file, []).append(error)
    return [
        {
            "rule_id": found[0].rule_id or file.rsplit("/", 1)[-1],
            "state": "failed",
            "file": file,
            "error": "\n".join(map(str, found)),
        }
        for file, found in by_file.items()
    ]
