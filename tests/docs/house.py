"""The architecture page and its picture, from the imports as they are and the floors that pyproject.toml allows."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path

from tests.docs.tables import table

ROOT = Path(__file__).parents[2]
_HEAD = """# Architecture

Honeypots log what attackers do. The engine turns those logs into events on a bus, tags them with ATT&CK techniques, works out which
behaviour belongs to which identity, and rotates the decoys; the console shows and steers all of it.

Data takes one way through: **sensor → bus → worker → database → bus → console**. The database is the truth, the bus carries work and
news: an event is acknowledged only after the transaction that holds its whole effect has committed, and what follows from it goes
out through an outbox row of that same transaction. Every id is derived, so whatever comes twice changes nothing the second time.

![The house: rooms by floor, with the imports between them](architecture.svg)

The picture is drawn from the imports. No import points up: a room uses what is on its own floor (where the table says so) or
below. `lint-imports` checks that, and `make check` runs it.

"""
_WIDE, _HIGH, _GAP, _LEFT, _FLOOR = 112, 34, 8, 24, 74
_MOST = 9
"""Rooms side by side."""


def page() -> str:
    """The way of the data, the picture, and a table of each floor from the top."""
    out = [_HEAD]
    for number, rooms in reversed(list(enumerate(floors()))):
        rows = (
            (f"`{room}`", str(len(modules()[room])), _says(room), ", ".join(_used(room))) for room in rooms
        )
        out.append(f"## Floor {number}\n\n{table(('room', 'modules', 'what it is', 'uses'), rows)}")
    return "".join(out)


@cache
def floors() -> Sequence[Sequence[str]]:
    """Rooms by floor, from the ground."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers")
    found = [[name for name in re.split(r"[ |:()]+", line) if name in modules()] for line in reversed(layers)]
    return [rooms for rooms in found if rooms]


@cache
def modules() -> Mapping[str, Sequence[str]]:
    """Room → its modules. A room is what stands directly below decnet or decnet_tui."""
    out: dict[str, list[str]] = defaultdict(list)
    for name in _paths():
        out[_room(name)].append(name)
    return out


@cache
def _paths() -> Mapping[str, Path]:
    out = {}
    for package in ("decnet", "decnet_tui"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            out[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return out


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


@cache
def edges() -> Mapping[tuple[str, str], int]:
    """Room and room that it imports → in how many modules."""
    out: dict[tuple[str, str], int] = defaultdict(int)
    for name, path in _paths().items():
        for used in sorted({_room(found) for found in _imports(path)}):
            if used != _room(name) and used in modules():
                out[_room(name), used] += 1
    return out


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _used(room: str) -> list[str]:
    order = {name: number for number, rooms in enumerate(floors()) for name in rooms}
    return sorted(
        (used for one, used in edges() if one == room), key=lambda name: (-order.get(name, -1), name)
    )


def _says(room: str) -> str:
    path = _paths()[room]
    told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return re.split(r"(?<=[.])\s|\n\n", told)[0].rstrip(":.").replace("``", "`")


# --- the picture


def picture() -> str:
    """An SVG: floors from the top, rooms as boxes, imports as lines that get wider with their number."""
    rows = [
        (number, rooms[i : i + _MOST])
        for number, rooms in reversed(list(enumerate(floors())))
        for i in range(0, len(rooms), _MOST)
    ]
    width = _LEFT + _MOST * (_WIDE + _GAP) + _LEFT
    place: dict[str, tuple[float, float]] = {}
    for row, (_, rooms) in enumerate(rows):
        start = (width - len(rooms) * (_WIDE + _GAP) + _GAP) / 2
        for column, room in enumerate(rooms):
            place[room] = (start + column * (_WIDE + _GAP), 20 + row * _FLOOR)
    height = 20 + len(rows) * _FLOOR
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        "<title>Rooms by floor and the imports between them</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *_lines(place),
        *(box for room, at in place.items() for box in _box(room, at)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _lines(place: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    for (room, used), count in sorted(edges().items()):
        if room not in place or used not in place:
            continue
        (x, y), (to_x, to_y) = place[room], place[used]
        x, to_x, y = x + _WIDE / 2, to_x + _WIDE / 2, y + _HIGH
        bend = (y + to_y) / 2
        strength = min(0.6 + count / 12, 3.0)
        yield (
            f'<path d="M{x:g} {y:g}C{x:g} {bend:g} {to_x:g} {bend:g} {to_x:g} {to_y:g}" fill="none" stroke="#7a8ba3"'
            f' stroke-opacity="0.35" stroke-width="{strength:.1f}"><title>{room} uses {used} in {count}</title></path>'
        )


def _box(room: str, at: tuple[float, float]) -> Iterator[str]:
    x, y = at
    package, _, name = room.partition(".")
    colour = "#e8f0fe" if package == "decnet" else "#e9f7ec"
    yield f'<rect x="{x:g}" y="{y:g}" width="{_WIDE}" height="{_HIGH}" rx="5" fill="{colour}" stroke="#44546a"/>'
    middle = x + _WIDE / 2
    yield f'<text x="{middle:g}" y="{y + 15:g}" text-anchor="middle" fill="#1a2230">{escape(name or package)}</text>'
    count = len(modules()[room])
    words = "1 module" if count == 1 else f"{count} modules"
    yield f'<text x="{middle:g}" y="{y + 28:g}" text-anchor="middle" fill="#5a6779" font-size="9">{words}</text>'
