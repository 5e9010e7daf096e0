"""The demo: the packaged recording, or a recorded span of a bus, played in a throw-away data directory.

Around it stands a small world: a fleet of dry-run decoys, and countries and networks that are made up.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from decnet.attack.catalogue import load_catalogue
from decnet.config import SensorSpec, Settings
from decnet.db.repository import BaseRepository
from decnet.db.rows.lists import ListedTag
from decnet.errors import ConfigError
from decnet.home import packaged_demo_dir
from decnet.hostile import visible
from decnet.logs import get_logger
from decnet_tui.model.words import counted

if TYPE_CHECKING:
    from decnet_tui.launch.attach import ConsoleSession

log = get_logger(__name__)


ALERT_TICK_S = 10.0
"""Seconds between looks for several operators behind one identity: an alert is there within the first minute."""
LONGEST_PAUSE_S = 2.0
"""Seconds that a pause of a recorded span takes at most."""


@contextmanager
def demo_settings(settings: Settings, file: Path | None = None, *, paced: bool = False) -> Iterator[Settings]:
    """Settings that play the recording, or a recorded span; the directory goes with the context unless one was given.

    ``paced``: the span is put on the bus by :func:`play_span`, so that no sensor reads it. Raises ConfigError when
    there is nothing to play.
    """
    if file is not None:
        changed: dict[str, object] = {"sensors": _span(file, paced=paced)}
    else:
        changed = {"sensors": _recording(), **_world(settings)}
    if "data_dir" in settings.model_fields_set:
        yield settings.model_copy(update=changed)
        return
    place = Path(tempfile.mkdtemp(prefix="decnet-demo-"))
    try:
        yield settings.model_copy(update={**changed, "data_dir": place})
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _recording() -> tuple[SensorSpec, ...]:
    recording = packaged_demo_dir()
    if not any(recording.glob("cowrie.json*")):
        raise ConfigError(f"no demo recording in {recording}")
    return (SensorSpec(kind="cowrie", path=recording),)


def _span(file: Path, *, paced: bool) -> tuple[SensorSpec, ...]:
    if not file.is_file():
        raise ConfigError(f"--demo {file}: no such file; name one that `decnet-tui watch --json` wrote")
    return () if paced else (SensorSpec(kind="jsonl", path=file),)


def _world(settings: Settings) -> dict[str, object]:
    """Countries and networks for the addresses of the recording, and a short wait for its alert."""
    intel = settings.intel.model_copy(update={"folder": _world_dir() / "places", "documentation": True})
    attribution = settings.attribution.model_copy(update={"multi_actor_tick_secs": ALERT_TICK_S})
    return {"intel": intel, "attribution": attribution}


def _world_dir() -> Path:
    return packaged_demo_dir() / "world"


async def make_fleet(settings: Settings) -> None:
    """The decoys of the recording, as a dry run. Raises ConfigError and DatabaseError."""
    from decnet.mutator.fleet import load_fleet  # here: a recorded span has a fleet of its own, or none
    from decnet.mutator.rows import Tools, apply_fleet

    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    tools = Tools.of(settings)
    repo = await BaseRepository.open(settings.db_url)
    try:
        await apply_fleet(
            repo, load_fleet(_world_dir() / "fleet.yaml", tools.catalogue, tools.defaults), tools
        )
    finally:
        await repo.close()


async def play_span(session: ConsoleSession, settings: Settings, file: Path) -> None:
    """Puts a recorded span on the bus of an engine inside, at the pace of its times; long pauses are cut short."""
    from decnet_tui.launch.playing import play

    refused: list[str] = []
    await session.bus.connect()
    count = await play(session.bus, settings, file, 1.0, refused, LONGEST_PAUSE_S)
    log.info("the recorded span is over", events=count, refused=refused[:5])


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
        f"DEMO: {counted(len(sessions), 'session')} of {counted(len(attackers), 'source')}, {counted(len(tags), 'tag')}, {counted(len(found), 'technique')}"
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
