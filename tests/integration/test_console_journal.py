"""The journal on both databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.dbkit import KINDS, open_repo


@pytest.mark.parametrize("kind", KINDS)
async def test_a_change_is_written_before_and_completed_after(kind: str, tmp_path: Path) -> None:
    async with open_repo(kind, tmp_path) as repo:
        change: dict[str, Any] = {"operator": "eve", "kind": "rule.state", "target": "R0001"}
        first = await repo.journal_add(**change, what="a\x00\ud800", before={"state": "enabled"}, after=None)
        second = await repo.journal_add(**change, what="undo", before=None, after=None, undoes=first)
        await repo.journal_end(first, "verified", "store and engine agree")
        await repo.journal_end(10_000, "verified")
        newest, oldest = await repo.journal()
        assert (newest["id"], newest["outcome"], newest["undoes"]) == (second, "sent", first)
        assert (oldest["outcome"], oldest["before"]) == ("verified", {"state": "enabled"})
        assert oldest["ts"].tzinfo is not None
        assert await repo.journal_get(first) == oldest
        assert await repo.journal_get(10_000) is None
        assert [row["id"] for row in await repo.journal(limit=1)] == [second]
