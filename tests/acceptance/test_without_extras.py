"""The built wheel with what it requires and nothing more: what needs an extra says so in one line that names it.

The packages come from the environment of the tests, file by file, so that nothing is fetched and no extra comes along.
"""

from __future__ import annotations

import os
import subprocess
import venv
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.supply.wheel import under_test

ROOT = Path(__file__).parent.parent.parent
URL = "postgresql://operator@127.0.0.1:1/nothing"
POSTGRES = "error: PostgreSQL needs the extra postgres: pip install 'decnet-tui[postgres]'"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def _needed(requirements: list[str]) -> dict[str, Distribution]:
    """The distributions that some requirements ask for, and those that these ask for, without extras."""
    found: dict[str, Distribution] = {}
    todo = [(Requirement(text), "") for text in requirements]
    while todo:
        wanted, extra = todo.pop()
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(wanted.name)
        known = name in found
        found.setdefault(name, distribution(name))
        if not known or wanted.extras:
            more = [Requirement(text) for text in found[name].requires or ()]
            todo += [(one, extra) for one in more for extra in ("", *wanted.extras)]
    return found


def _link(dist: Distribution, site: Path) -> None:
    """The files of a distribution as links, so that packages which share a name stay apart."""
    for file in dist.files or ():
        if "__pycache__" in file.parts:
            continue
        target = Path(os.path.normpath(site / file))  # programs stand beside, in the environment's bin
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.symlink_to(dist.locate_file(file))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the wheel."""
    place = tmp_path_factory.mktemp("bare")
    wheel = under_test(place)
    venv.create(place / "env", with_pip=False)
    site = next((place / "env").glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        metadata = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    required = [line.partition(": ")[2] for line in lines if line.startswith("Requires-Dist: ")]
    for dist in _needed(required).values():
        _link(dist, site)
    return place / "env" / "bin" / "python"


def run(python: Path, *arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DECNET_", "PYTHON"))}
    return subprocess.run(
        [python, "-m", "decnet_tui", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False,
        stdin=subprocess.DEVNULL, env={**kept, "NO_COLOR": "1", "TERM": "dumb", **settings}, cwd=python.parent,
    )  # fmt: skip


def test_it_runs_without_any_extra(python: Path, tmp_path: Path) -> None:
    asked = "import importlib.util as u; print([u.find_spec(n) for n in ('asyncpg', 'stix2', 'sigma', 'opentelemetry.sdk')])"
    done = subprocess.run(
        [python, "-c", asked], capture_output=True, text=True, check=True, cwd=tmp_path, env={}
    )
    assert done.stdout.strip() == "[None, None, None, None]"
    assert run(python, "--version").stdout.startswith("decnet-tui ")
    log = ROOT / "tests" / "fixtures" / "cases" / "26-tags-time.json"
    read = run(
        python, "--headless", "--sensor", f"cowrie={log}", "--until-idle", "0.5", "--data-dir", tmp_path
    )
    assert read.returncode == 0, read.stderr[-2000:]
    assert "2017-01-18" in run(python, "tags", "--data-dir", tmp_path).stdout


@pytest.mark.parametrize(
    "command",
    ["", "--headless", "sessions", "tags", "workers", "summary", "find x", "deadletters", "backfill --since 1d", "rules list"],
)  # fmt: skip
def test_a_server_without_its_driver_is_one_line_everywhere(
    python: Path, tmp_path: Path, command: str
) -> None:
    done = run(python, *command.split(), "--db", URL, "--data-dir", tmp_path / "data")
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert (done.returncode, said) == (1, [POSTGRES])


def test_doctor_names_it_among_its_checks(python: Path, tmp_path: Path) -> None:
    done = run(python, "doctor", "--db", URL, "--data-dir", tmp_path / "data")
    (line,) = [line for line in done.stdout.splitlines() if "database" in line.split()[:2]]
    assert line.startswith("FAIL database")
    assert POSTGRES.removeprefix("error: ") in line
    assert (done.returncode, done.stderr) == (1, "")


def test_the_other_extras_are_named_likewise(python: Path, tmp_path: Path) -> None:
    log = ROOT / "tests" / "fixtures" / "cases" / "26-tags-time.json"
    run(python, "--headless", "--sensor", f"cowrie={log}", "--until-idle", "0.5", "--data-dir", tmp_path)
    done = run(python, "export", "stix", "-o", tmp_path / "x.json", "--data-dir", tmp_path)
    (said,) = done.stderr.splitlines()
    assert (done.returncode, "pip install 'decnet-tui[stix]'" in said) == (1, True)
    done = run(python, "rules", "import-sigma", log.parent, "--data-dir", tmp_path, "-o", tmp_path / "out")
    (said,) = done.stderr.splitlines()
    assert (done.returncode, "pip install 'decnet-tui[sigma]'" in said) == (1, True)
    done = run(python, "--headless", "--data-dir", tmp_path, DECNET_TELEMETRY__TRACES="true")
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert (done.returncode, "pip install 'decnet-tui[otel]'" in said) == (2, True)
    assert "Traceback" not in done.stdout + done.stderr
