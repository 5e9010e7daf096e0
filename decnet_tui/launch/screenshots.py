"""Pictures: SVG of every view and of the pages that decide, at both sizes, made from the running console on the demo recording."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decnet.config import Settings
from decnet.errors import DecnetError
from decnet.home import packaged_demo_dir
from decnet_tui.app import DecnetApp
from decnet_tui.launch.attach import ConsoleSession, start_inside
from decnet_tui.launch.demo import make_fleet
from decnet_tui.screens import VIEWS

if TYPE_CHECKING:
    from textual.pilot import Pilot

SIZES = ((80, 24), (160, 48))
PICTURES = (
    *((view.name, (view.key,)) for view in VIEWS),
    ("session", ("0", "enter")),
    ("actor", ("3", "enter")),
    ("alert", ("2", "enter")),
)
"""Names of the pictures, and the keys that lead from one to the next."""
_SETTLE_S = 1.3
_TRIES = 6


async def take(settings: Settings, out: Path) -> list[Path]:
    """Plays the demo of ``settings`` and writes the pictures; their paths. Raises DecnetError and OSError."""
    out.mkdir(parents=True, exist_ok=True)
    await make_fleet(settings)
    session = await start_inside(settings, demo=True)
    session.host = "sensor-01"
    try:
        await session.played(1.0)
        return [path for size in SIZES for path in await _views(settings, session, size, out)]
    finally:
        await session.close()


async def _views(settings: Settings, session: ConsoleSession, size: tuple[int, int], out: Path) -> list[Path]:
    console = settings.console.model_copy(update={"glyphs": "unicode"})
    settings = settings.model_copy(update={"console": console})
    app = DecnetApp(settings, session=session, read_only=False)
    paths = []
    async with app.run_test(size=size) as pilot:
        for name, keys in PICTURES:
            await pilot.press(*keys)
            await pilot.pause(_SETTLE_S)
            picture = await _anonymous(app, pilot)
            path = out / f"{name}-{size[0]}x{size[1]}.svg"
            path.write_text(picture, encoding="utf-8")
            paths.append(path)
    return paths


async def _anonymous(app: DecnetApp, pilot: Pilot[str]) -> str:
    """The picture without paths and names of the machine it was made on; heartbeats bring them back."""
    for _ in range(_TRIES):
        for model in app.feed.workers.values():
            model.payload["host"] = app.session.host
            for row in model.payload.get("sensors") or ():
                row.update(_elsewhere(row), path="/var/log/cowrie/cowrie.json")
        await pilot.pause(_SETTLE_S)
        picture = app.export_screenshot(title="decnet-tui")
        if str(packaged_demo_dir())[:12] not in picture and f'"{socket.gethostname()}"' not in picture:
            return picture
    raise DecnetError("the pictures still name this machine: try again")


def _elsewhere(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a sensor says, with the folder of a real Cowrie in the place of the demo's."""
    said = json.dumps(row).replace(json.dumps(str(packaged_demo_dir()))[1:-1], "/var/log/cowrie")
    elsewhere: dict[str, Any] = json.loads(said)
    return elsewhere
