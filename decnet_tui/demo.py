"""The demo: the packaged recording, played in a throw-away data directory."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from decnet.attack.catalogue import load_catalogue
from decnet.config import SensorSpec, Settings
from decnet.db.repository import BaseRepository
from decnet.db.rows.lists import ListedTag
from decnet.errors import ConfigError
from decnet.home import packaged_demo_dir
from decnet.hostile import visible


@contextmanager
def demo_settings(settings: Settings) -> Iterator[Settings]:
    """Settings that play the recording; the directory goes with the context unless one was given.

    Raises ConfigError when the package holds no recording.
    """
    recording = packaged_demo_dir()
    if not any(recording.glob("cowrie.json*")):
        raise ConfigError(f"no demo recording in {recording}")
    sensors = (SensorSpec(kind="cowrie", path=recording),)
    if "data_dir" in settings.model_fields_set:
        yield settings.model_copy(update={"sensors": sensors})
        return
    place = Path(tempfile.mkdtemp(prefix="decnet-demo-"))
    try:
        yield settings.model_copy(update={"sensors": sensors, "data_dir": place})
    finally:
        shutil.rmtree(place, ignore_errors=True)


async def print_summary(settings: Settings) -> None:
    """The techniques found, most frequent first, for people without a terminal."""
    repo = await BaseRepository.open(settings.db_url)
    try:
        tags = await repo.list_tags(limit=0)
        sessions = await repo.list_sessions(limit=0)
    finally:
        await repo.close()
    found = _by_technique(tags)
    attackers = {s["attacker_ip"] for s in sessions}
    typer.echo(
        f"DEMO: {len(sessions)} sessions of {len(attackers)} attackers, {len(tags)} tags, {len(found)} techniques"
    )
    typer.echo(f"{'technique':<11}{'tags':>6}{'from':>6}  name / for example")
    for technique, rows in sorted(found.items(), key=lambda item: -len(item[1])):
        sources = len({row["attacker_ip"] for row in rows})
        typer.echo(f"{technique:<11}{len(rows):>6}{sources:>6}  {load_catalogue().name(technique)}")
        typer.echo(f"{'':<25}{visible(_example(rows), 80)}")


def _by_technique(tags: list[ListedTag]) -> dict[str, list[ListedTag]]:
    found: dict[str, list[ListedTag]] = defaultdict(list)
    for tag in tags:
        found[tag["sub_technique_id"] or tag["technique_id"]].append(tag)
    return dict(found)


def _example(rows: list[ListedTag]) -> str:
    """The shortest evidence tells most at a glance."""
    texts = [str(evidence_text(row["evidence"])) for row in rows]
    return min(texts, key=len)


def evidence_text(evidence: object) -> str:
    """The matched text of a tag's evidence."""
    if not isinstance(evidence, dict):
        return ""
    return str(evidence.get("command_text") or evidence.get("matched") or "")
