"""What attackers typed in the demo recording: the command lines that every checkout has."""

from __future__ import annotations

import json

from decnet.home import packaged_demo_dir


def demo_commands() -> list[str]:
    """Every command line of the recording, in its order, with repetitions."""
    rows = map(json.loads, (packaged_demo_dir() / "cowrie.json").read_text("utf-8").splitlines())
    return [row["input"] for row in rows if row["eventid"] == "cowrie.command.input"]
