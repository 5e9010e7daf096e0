"""Writes the generated pages: ``make docs``. Each is a function of the code alone, so that a test can compare."""

from __future__ import annotations

from pathlib import Path

from tests.docs import commands, events, house, settings

ROOT = Path(__file__).parents[2]
NOTE = "<!-- Made by `make docs` from {}: change that, not this page. -->\n\n"


def pages() -> dict[str, str]:
    """Path below the checkout → text, of every generated page."""
    return {
        "docs/events.md": NOTE.format("decnet/events") + events.page(),
        "docs/settings.md": NOTE.format("decnet/config.py") + settings.page(),
        "docs/commands.md": NOTE.format("decnet_tui/cli") + commands.page(),
        "docs/architecture.md": NOTE.format("the imports and pyproject.toml") + house.page(),
        "docs/architecture.svg": house.picture(),
    }


def main() -> None:
    """Writes what differs and says what that was."""
    for name, text in pages().items():
        path = ROOT / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"{name} written")


if __name__ == "__main__":
    main()
