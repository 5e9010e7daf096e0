"""Runs the tests of each mutant against a copy of the tree that has its fault; keeps the verdicts.

    python -m tests.mutants.run [--area AREA] [--id ID] [--jobs N]

A mutant is killed when a test of its own fails (or hangs: pytest's time limit for one test). The tests have
to pass without the fault first. Without a choice the verdicts go to ``verdicts.md`` beside this file. Ends
with 1 when less than nine in ten are killed, when a survivor is not explained, or when a run says nothing.

Each job is a process that has loaded what does not change (libraries, no module of ours) and forks for every
run, since most of a short run is imports.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mutants.table import FOLDER, ROOT, Mutant, load

LIMIT_S = 240.0
WANTED = 0.9
PARTS = (
    "decnet",
    "decnet_tui",
    "docs",
    "rules",
    "tests",
    "pyproject.toml",
    "README.md",
    "Makefile",
    "requirements",
)
LIBRARIES = (
    "pytest", "pytest_asyncio", "pytest_timeout", "hypothesis", "sqlalchemy.ext.asyncio", "sqlmodel", "aiosqlite",
    "asyncpg", "alembic.command", "pydantic_settings", "msgspec", "yaml", "re2", "nats", "nats.js", "structlog",
    "typer", "textual.app", "textual.widgets", "rich.console", "pyte", "watchfiles", "stamina",
)  # fmt: skip
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one mutant: ``killed``, ``survived`` or ``broken`` (its run says nothing)."""

    mutant: Mutant
    outcome: str
    by: str
    seconds: float


def copy_tree(to: Path) -> Path:
    """A tree of its own for one job."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, to / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, to / part)
    return to


@contextmanager
def faulty(tree: Path, mutant: Mutant) -> Iterator[None]:
    """The tree with the fault in it; byte code of the module must not outlive the change of its text."""
    target = tree / mutant.file
    good, bad = target.read_text("utf-8"), mutant.faulty(tree)
    try:
        _write(target, bad)
        yield
    finally:
        _write(target, good)


def _write(target: Path, text: str) -> None:
    target.write_text(text, "utf-8")
    for stale in (target.parent / "__pycache__").glob(f"{target.stem}.*.pyc"):
        stale.unlink()


def run_tests(tree: Path, tests: Sequence[str]) -> tuple[int, str]:
    """pytest's exit code and output, from a fork of this process; 124 when the whole run hangs."""
    said = tree / "said.txt"
    child = os.fork()
    if not child:
        _in_child(said, tests)
    deadline = time.monotonic() + LIMIT_S
    code = 124
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            break
        time.sleep(0.01)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if code == 124:
        os.waitpid(child, 0)
    return code, said.read_text("utf-8", "replace")


def _in_child(said: Path, tests: Sequence[str]) -> None:
    os.setsid()
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((0, nothing), (1, output), (2, output)):
        os.dup2(new, old)
    import pytest

    code = pytest.main([
        "-x", "-q", "-m", "not bench", "--tb=short", "--timeout=60", "-rfE",
        "-o", "addopts=--strict-markers -p no:cacheprovider", "-p", "no:xdist",
        "-W", "ignore::pytest.PytestAssertRewriteWarning", *tests,
    ])  # fmt: skip
    sys.stdout.flush()
    os._exit(int(code))


def judge(tree: Path, mutant: Mutant) -> Verdict:
    """Puts the fault in, runs its tests, takes it out again."""
    began = time.monotonic()
    try:
        with faulty(tree, mutant):
            code, said = run_tests(tree, mutant.tests)
    except ValueError as error:
        return Verdict(mutant, "broken", str(error), 0.0)
    seconds = time.monotonic() - began
    if code == 0:
        return Verdict(mutant, "survived", "", seconds)
    failed = _FAILED.findall(said)
    # Code 1 is a failed test, 2 a module that the fault does not let load.
    if code == 124 or code < 0 or "Timeout (>" in said or (code in (1, 2, 4) and failed):
        return Verdict(mutant, "killed", failed[0] if failed else "hangs", seconds)
    return Verdict(mutant, "broken", said[-2000:], seconds)


def job(folder: str, todo: Any, done: Any) -> None:
    """One process: its own tree, libraries loaded, one task after the other until there is none."""
    tree = copy_tree(Path(folder))
    os.chdir(tree)
    sys.path[:] = [str(tree), *(p for p in sys.path if p and Path(p).resolve() != ROOT)]
    os.environ["PYTHONPATH"] = str(tree)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "decnet", "decnet_tui")]:
        del sys.modules[name]
    for name in LIBRARIES:
        importlib.import_module(name)
    while (task := todo.get()) is not None:
        if isinstance(task, str):
            code, said = run_tests(tree, [task])
            done.put(f"{task}: {code}\n{said[-1500:]}" if code else "")
        else:
            done.put(judge(tree, task))


def spread(tasks: Sequence[str | Mutant], jobs: int) -> Iterator[Any]:
    """What the jobs say of the tasks, as it comes."""
    context = multiprocessing.get_context("spawn")
    todo, done = context.Queue(), context.Queue()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        crew = [context.Process(target=job, args=(f"{folder}/{i}", todo, done)) for i in range(jobs)]
        for number, process in enumerate(crew):
            Path(folder, str(number)).mkdir()
            process.start()
        for task in [*tasks, *([None] * jobs)]:
            todo.put(task)
        for _ in tasks:
            yield done.get()
        for process in crew:
            process.join()


def report(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as a page: totals by area, then each."""
    lines = ["# Verdicts of `make mutants`", "", "Written by the run; do not edit.", ""]
    lines += ["| area | mutants | killed | survivors explained |", "|---|---|---|---|"]
    areas = sorted({v.mutant.area for v in verdicts})
    groups = [(area, [v for v in verdicts if v.mutant.area == area]) for area in areas]
    for name, mine in [*groups, ("all", list(verdicts))]:
        killed = sum(v.outcome == "killed" for v in mine)
        explained = sum(v.outcome == "survived" and bool(v.mutant.survives) for v in mine)
        lines.append(f"| {name} | {len(mine)} | {killed} | {explained} |")
    lines += ["", "| mutant | guard | verdict | by |", "|---|---|---|---|"]
    for v in verdicts:
        by = v.by if v.outcome == "killed" else v.mutant.survives
        lines.append(f"| {v.mutant.id} | {v.mutant.guard} | {v.outcome} | {by.replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def stored(page: str) -> dict[str, tuple[str, str]]:
    """Outcome and reason by mutant, as an earlier run left them."""
    rows = (line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| "))
    return {row[0]: (row[2], row[3] if len(row) > 3 else "") for row in rows if len(row) >= 3}


def together(before: dict[str, tuple[str, str]], now: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts of this run, and of earlier ones for what it left out, in the order of the table."""
    fresh = {verdict.mutant.id: verdict for verdict in now}
    known = [(m, fresh.get(m.id) or before.get(m.id)) for m in load()]
    return [v if isinstance(v, Verdict) else Verdict(m, v[0], v[1], 0.0) for m, v in known if v]


def judged(mutants: Sequence[Mutant], jobs: int) -> tuple[list[str], list[Verdict]]:
    """What the tests say without a fault, and all verdicts in the order of the table; each is told as it comes.

    Both in one go, so that all of it is about one state of the tree.
    """
    complaints, verdicts = [], {}
    for found in spread([*sorted({t for m in mutants for t in m.tests}), *mutants], jobs):
        if isinstance(found, str):
            complaints += [found] if found else []
            continue
        verdicts[found.mutant.id] = found
        print(f"{found.outcome:9}{found.mutant.id:60}{found.seconds:5.1f} s  {found.by[-90:]}", flush=True)
    return complaints, [verdicts[mutant.id] for mutant in mutants]


def main() -> int:
    """The command; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--area", action="append")
    parser.add_argument("--id", action="append")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    chosen = [
        m for m in load() if (not args.area or m.area in args.area) and (not args.id or m.id in args.id)
    ]
    began = time.monotonic()
    if any("integration" in test for mutant in chosen for test in mutant.tests):
        from tests.dbkit import pg_server_url

        os.environ["DECNET_TEST_PG_URL"] = pg_server_url()  # one server for all runs
    complaints, verdicts = judged(chosen, args.jobs)
    for complaint in complaints:
        print("fails without a fault:", complaint)
    if complaints or not verdicts:
        return 1
    page = FOLDER / "verdicts.md"
    page.write_text(report(together(stored(page.read_text("utf-8")), verdicts)), "utf-8")
    killed = sum(v.outcome == "killed" for v in verdicts)
    print(f"{killed} of {len(verdicts)} killed in {(time.monotonic() - began) / 60:.1f} minutes")
    for verdict in (bad := [v for v in verdicts if v.outcome != "killed" and not v.mutant.survives]):
        print(f"{verdict.outcome}: {verdict.mutant.id} ({verdict.mutant.file})\n{verdict.by}")
    return int(bool(bad) or killed < WANTED * len(verdicts))


if __name__ == "__main__":
    sys.exit(main())
