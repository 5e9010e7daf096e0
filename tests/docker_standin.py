"""Stands in for the docker binary: checks its arguments, keeps containers in a file, fails as told.

Run as ``docker``; beside it lie ``state.json`` (running services), ``calls.jsonl`` and ``faults.json``: a list of
``{"verb", "say", "code", "sleep", "partial", "times"}``, the first that fits a call is used up by it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import yaml

HERE = Path(sys.argv[0]).absolute().parent


def load(name: str, default: object) -> object:
    path = HERE / name
    return json.loads(path.read_text()) if path.exists() else default


def fault_for(verb: str) -> dict[str, object] | None:
    faults = load("faults.json", [])
    assert isinstance(faults, list)
    for fault in faults:
        if fault["verb"] == verb and fault.get("times", 1) > 0:
            fault["times"] = fault.get("times", 1) - 1
            (HERE / "faults.json").write_text(json.dumps(faults))
            return dict(fault)
    return None


def main(arguments: list[str]) -> int:
    with (HERE / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    if arguments[:1] != ["compose"]:
        return 125
    compose, dash_p, project, dash_f, file, verb, *rest = arguments
    assert (compose, dash_p, dash_f) == ("compose", "-p", "-f"), arguments
    assert project.startswith("decnet-"), project
    known = yaml.safe_load(Path(file).read_text())["services"]
    running = load("state.json", {})
    assert isinstance(running, dict)
    fault = fault_for(verb)
    if fault:
        named = [word for word in rest if not word.startswith("-")]
        for name in named[: int(str(fault.get("partial", 0)))]:
            running[name] = known[name]
        (HERE / "state.json").write_text(json.dumps(running))
        time.sleep(float(str(fault.get("sleep", 0))))
        print(fault.get("say", ""), file=sys.stderr)
        return int(str(fault.get("code", 1)))
    return VERBS[verb](rest, known, running)


def up(rest: list[str], known: dict[str, dict[str, object]], running: dict[str, object]) -> int:
    assert rest[:2] == ["-d", "--no-deps"], rest
    for name in rest[2:]:
        if name not in known:
            print(f"no such service: {name}", file=sys.stderr)
            return 1
        taken = {port for other, body in running.items() if other != name for port in body["ports"]}  # type: ignore[index]
        if taken & set(known[name]["ports"]):  # type: ignore[call-overload]
            print(
                "Error response from daemon: driver failed: Bind for 127.0.0.1:80 failed: port is already allocated",
                file=sys.stderr,
            )
            return 1
        running[name] = known[name]
    (HERE / "state.json").write_text(json.dumps(running))
    return 0


def rm(rest: list[str], known: dict[str, dict[str, object]], running: dict[str, object]) -> int:
    assert rest[:2] == ["-s", "-f"], rest
    for name in rest[2:]:
        if name not in known:
            print(f"no such service: {name}", file=sys.stderr)
            return 1
        running.pop(name, None)
    (HERE / "state.json").write_text(json.dumps(running))
    return 0


def ps(rest: list[str], known: dict[str, dict[str, object]], running: dict[str, object]) -> int:
    assert rest == ["--all", "--format", "json"], rest
    for name in running:
        print(json.dumps({"Service": name, "State": "running"}))
    print(json.dumps({"Service": "old--ssh", "State": "exited"}))
    return 0


VERBS = {"up": up, "rm": rm, "ps": ps}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
