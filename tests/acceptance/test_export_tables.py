"""``export csv`` and ``export jsonl`` of the demo: byte for byte what one tag after the other gives, whatever a page holds."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from decnet.attack.catalogue import load_catalogue
from decnet.config import Settings, load_settings
from decnet.db.repository import BaseRepository
from decnet.db.repository.lists import pages
from decnet.engine import Engine
from decnet.export.tables import COLUMNS
from decnet.home import packaged_demo_dir
from decnet.hostile import visible
from decnet.intel.places import Places
from decnet_tui.cli import export
from decnet_tui.cli.main import app
from decnet_tui.model.places import place_row

ADDED = ("country", "allocated", "asn", "as_name")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Of a data directory where the demo's log was read."""
    made = load_settings(
        data_dir=tmp_path_factory.mktemp("demo"),
        bus={"type": "memory"},
        workers=("sensors", "recorder", "ttp"),
        ttp_rule_store_type="filesystem",
        sensors=[{"kind": "cowrie", "path": str(packaged_demo_dir() / "cowrie.json")}],
    )
    engine = Engine(made)
    await engine.start()
    try:
        assert await engine.until_idle(0.4) is None
    finally:
        await engine.stop(5.0)
    return made


async def rows(settings: Settings) -> list[dict[str, Any]]:
    """Tags as ``list_tags`` has them, with all that stands beside them."""
    name, places = load_catalogue().name, Places.of(settings)
    repo = await BaseRepository.open(settings.db_url, data_dir=settings.data_dir)
    try:
        tags = await repo.list_tags(limit=0)
        whole = await repo.identities_by_id([tag["identity_uuid"] for tag in tags if tag["identity_uuid"]])
        named = await repo.campaigns_by_attacker(
            [tag["attacker_uuid"] for tag in tags if tag["attacker_uuid"]]
        )
    finally:
        await repo.close()
    out = []
    for tag in tags:
        place = place_row(places, tag["attacker_ip"])
        identity = whole.get(tag["identity_uuid"] or "")
        beside = {
            **{key: place[key] for key in ADDED},
            "campaigns": sorted(one["campaign_uuid"] for one in named.get(tag["attacker_uuid"] or "", ())),
            "identity_addresses": list(identity["addresses"]) if identity else [],
        }
        out.append({**tag, "technique_name": name(tag["sub_technique_id"] or tag["technique_id"]), **beside})
    return out


def moment(value: Any) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


def cell(value: Any) -> str:
    if value is None or isinstance(value, (int, float)):
        return "" if value is None else str(value)
    text = visible(" ".join(map(str, value)) if isinstance(value, list) else moment(value), 2000)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def plain_csv(tags: Iterable[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for tag in tags:
        full = {**tag, "matched": (tag["evidence"] or {}).get("matched")}
        writer.writerow([cell(full[name]) for name in COLUMNS])
    return out.getvalue()


@pytest.mark.parametrize(("page", "known"), [(5_000, 20_000), (7, 3)])
def test_tables_are_what_one_tag_after_the_other_gives(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int, known: int
) -> None:
    monkeypatch.setattr(pages, "PAGE", page)
    monkeypatch.setattr(export, "MOST_KNOWN", known)
    tags = asyncio.run(rows(settings))
    assert len(tags) > 300
    for what in ("csv", "jsonl"):
        done = CliRunner().invoke(
            app, ["export", what, "-o", str(tmp_path / what), "--data-dir", str(settings.data_dir)]
        )
        assert done.exit_code == 0, done.output
        assert f"{len(tags)} tags to" in done.stderr
    assert (tmp_path / "csv").read_bytes() == plain_csv(tags).encode()
    lines = [json.dumps(tag, default=moment, ensure_ascii=True) + "\n" for tag in tags]
    assert (tmp_path / "jsonl").read_bytes() == "".join(lines).encode()
    shown = CliRunner().invoke(app, ["export", "csv", "-o", "-", "--data-dir", str(settings.data_dir)])
    assert shown.stdout_bytes == (tmp_path / "csv").read_bytes()
