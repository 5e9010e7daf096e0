"""``make audit``: known faults of the locked parts, by pip-audit where it and its advisories can be reached.

    python -m tests.supply.audit

pip-audit comes by ``uv tool run`` and is no part of the environment. A fault that does not concern us stands in
``audit.toml`` with the reason. Exit 1 for a fault that is not explained, and for an explanation of none.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.supply.lock import LOCK

EXPLAINED = Path(__file__).with_name("audit.toml")
LIMIT_S = 180.0
COMMAND = (
    sys.executable, "-m", "uv", "tool", "run", "pip-audit", "--requirement", str(LOCK), "--disable-pip", "--require-hashes", "--format", "json",
    "--progress-spinner", "off",
)  # fmt: skip


def faults(report: dict[str, Any]) -> dict[str, str]:
    """By id: which part has it, and the versions without it."""
    return {
        fault[
            "id"
        ]: f"{part['name']} {part['version']}, mended in {', '.join(fault.get('fix_versions') or ['nothing'])}"
        for part in report["dependencies"]
        for fault in part.get("vulns", ())
    }


def judged(found: dict[str, str], explained: dict[str, str]) -> list[str]:
    """What is wrong, a line each."""
    open_ = [f"{ident}: {what}" for ident, what in sorted(found.items()) if ident not in explained]
    return open_ + [
        f"{ident}: explained, and there is no such fault any more"
        for ident in sorted(explained)
        if ident not in found
    ]


def asked(command: Sequence[str] = COMMAND) -> dict[str, Any] | str:
    """The report, or why there is none."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        return (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["nothing was said"])[-1]
    return report if isinstance(report, dict) and "dependencies" in report else "its report is none"


def main(command: Sequence[str] = COMMAND, explained: Path = EXPLAINED) -> int:
    """Says what was found."""
    report = asked(command)
    if isinstance(report, str):
        print(f"NOT AUDITED, it cannot be reached: {report}")
        return 0
    reasons = {
        row["id"]: row["reason"] for row in tomllib.loads(explained.read_text("utf-8")).get("fault", ())
    }
    wrong = judged(faults(report), reasons)
    print("\n".join(wrong) or f"{len(report['dependencies'])} parts, no fault that is not explained")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
