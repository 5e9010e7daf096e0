"""Runs the tests of each mutant against a copy of the tree that has its fault; keeps the verdicts.

    python -m tests.mutants.run [--area AREA] [--id ID] [--jobs N]

A mutant is killed when a test of its own fails (or hangs: pytest's time limit for one test). The tests have
to pass without the fault first. Without a choice the verdicts go to ``verdicts.md`` beside this file. Ends
with 1 when less than nine in ten are killed, when a survivor is not explained, or when a run says nothing.
"""

from __future__ import annotations

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.table import FOLDER, ROOT, Mutant, load

LIMIT_S = 240
WANTED = 0.9
PARTS = ("decnet", "decnet_tui", "rules", "tests", "pyproject.toml", "README.md", "Makefile")
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


def run_tests(tree: Path, tests: Sequence[str]) -> tuple[int, str]:
    """pytest's exit code and output; 124 when the whole run hangs."""
    surroundings = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [
        sys.executable, "-m", "pytest", "-x", "-q", "-m", "not bench", "--tb=short", "--timeout=60",
        "-o", "addopts=--strict-markers -p no:cacheprovider", "-rfE", *tests,
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, cwd=tree, env=surroundings, capture_output=True, timeout=LIMIT_S, check=False, text=True
        )
    except subprocess.TimeoutExpired:
        return 124, ""
    return done.returncode, done.stdout + done.stderr


def judge(tree: Path, mutant: Mutant) -> Verdict:
    """Puts the fault in, runs its tests, takes it out again."""
    began = time.monotonic()
    target = tree / mutant.file
    good = target.read_text("utf-8")
    try:
        target.write_text(mutant.faulty(tree), "utf-8")
        code, said = run_tests(tree, mutant.tests)
    finally:
        target.write_text(good, "utf-8")
    seconds = time.monotonic() - began
    if code == 0:
        return Verdict(mutant, "survived", "", seconds)
    failed = _FAILED.findall(said)
    if code == 124 or "Timeout (>" in said or (code == 1 and failed):
        return Verdict(mutant, "killed", failed[0] if failed else "hangs", seconds)
    return Verdict(mutant, "broken", said[-2000:], seconds)


def sound(mutants: Sequence[Mutant], trees: queue.Queue[Path], jobs: int) -> list[str]:
    """Test files that fail without any fault: their mutants would say nothing."""

    def alone(test: str) -> str:
        tree = trees.get()
        try:
            code, said = run_tests(tree, [test])
        finally:
            trees.put(tree)
        return f"{test}: {code}\n{said[-1500:]}" if code else ""

    names = sorted({test for mutant in mutants for test in mutant.tests})
    with ThreadPoolExecutor(jobs) as pool:
        return [said for said in pool.map(alone, names) if said]


def judge_all(mutants: Sequence[Mutant], jobs: int) -> tuple[list[str], list[Verdict]]:
    """Complaints about the tests themselves, else the verdicts in the order of the table."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees: queue.Queue[Path] = queue.Queue()
        for job in range(jobs):
            trees.put(copy_tree(Path(folder) / str(job)))
        if complaints := sound(mutants, trees, jobs):
            return complaints, []

        def one(mutant: Mutant) -> Verdict:
            tree = trees.get()
            try:
                verdict = judge(tree, mutant)
            finally:
                trees.put(tree)
            print(f"{verdict.outcome:9}{mutant.id:60}{verdict.seconds:5.1f} s  {verdict.by[:90]}", flush=True)
            return verdict

        with ThreadPoolExecutor(jobs) as pool:
            return [], list(pool.map(one, mutants))


def report(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as a page: totals by area, then each."""
    lines = ["# Verdicts of `make mutants`", "", "Written by the run; do not edit.", ""]
    lines += ["| area | mutants | killed | survivors explained |", "|---|---|---|---|"]
    areas = sorted({v.mutant.area for v in verdicts})
    for name, mine in [(a, [v for v in verdicts if v.mutant.area == a]) for a in areas] + [
        ("all", list(verdicts))
    ]:
        killed = sum(v.outcome == "killed" for v in mine)
        explained = sum(v.outcome == "survived" and bool(v.mutant.survives) for v in mine)
        lines.append(f"| {name} | {len(mine)} | {killed} | {explained} |")
    lines += ["", "| mutant | guard | verdict | by |", "|---|---|---|---|"]
    for v in verdicts:
        by = v.by if v.outcome == "killed" else v.mutant.survives
        lines.append(f"| {v.mutant.id} | {v.mutant.guard} | {v.outcome} | {by.replace('|', '/')} |")
    return "\n".join(lines) + "\n"


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
    complaints, verdicts = judge_all(chosen, args.jobs)
    for complaint in complaints:
        print("fails without a fault:", complaint)
    if complaints or not verdicts:
        return 1
    if not args.area and not args.id:
        (FOLDER / "verdicts.md").write_text(report(verdicts), "utf-8")
    killed = sum(v.outcome == "killed" for v in verdicts)
    print(f"{killed} of {len(verdicts)} killed")
    for verdict in (bad := [v for v in verdicts if v.outcome != "killed" and not v.mutant.survives]):
        print(f"{verdict.outcome}: {verdict.mutant.id} ({verdict.mutant.file})\n{verdict.by}")
    return int(bool(bad) or killed < WANTED * len(verdicts))


if __name__ == "__main__":
    sys.exit(main())
