"""The tests of ``make check``: builds sdist and, from it, the wheel; installs the wheel; runs pytest against that.

    python -m tests.supply.wheel OUT [arguments of pytest]

The libraries are those of the environment that runs this, which the lock has with hashes; only the program is the built
one. Tests run in a copy of the tree in which ``decnet`` and ``decnet_tui`` are the installed packages: what is missing in
the wheel is missing there, and what an editable install would find in the checkout is not there at all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("decnet", "decnet_tui")
UNDER_TEST = "TESTED_WHEEL"
"""Names the wheel to tests that want it as a file."""
BESIDE = (
    "tests",
    "docs",
    "rules",
    "requirements",
    "screenshots",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "Containerfile",
    ".containerignore",
    "pyproject.toml",
)


def built(out: Path) -> Path:
    """The wheel, made from the sdist and not from the tree."""
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)], check=True
    )
    wheels = sorted(out.glob("*.whl"), key=lambda path: path.stat().st_mtime)
    return wheels[-1]


def under_test(place: Path) -> Path:
    """The wheel that is under test, or in a checkout one that is made of it in ``place``."""
    if UNDER_TEST in os.environ:
        return Path(os.environ[UNDER_TEST])
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = place.glob("decnet_tui-*.whl")
    return wheel


def installed(wheel: Path, folder: Path) -> Path:
    """The Python of an environment with the wheel in it and, behind it, the libraries of this one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    site = Path(_said(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index",
         "--disable-pip-version-check", "--ignore-installed", str(wheel)],
        check=True,
    )  # fmt: skip
    for program in Path(sys.executable).parent.iterdir():
        if not (folder / "bin" / program.name).exists():
            (folder / "bin" / program.name).symlink_to(program)
    return python


def _said(python: Path, program: str) -> str:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), "-c", program], check=True, capture_output=True, text=True, cwd=python.parent, env=env
    )
    return done.stdout.strip()


def where(python: Path) -> dict[str, Path]:
    """Where each package comes from. Raises ValueError for one that is not of the environment of ``python``."""
    found = {name: Path(_said(python, f"import {name}; print({name}.__path__[0])")) for name in PACKAGES}
    own = python.parent.parent.resolve()
    if strange := [str(place) for place in found.values() if not place.resolve().is_relative_to(own)]:
        raise ValueError(f"not the installed packages: {', '.join(strange)}")
    return found


def tree(python: Path, folder: Path) -> Path:
    """A copy of what stands beside the packages, with the installed ones in their places."""
    folder.mkdir()
    for name in BESIDE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, folder / name)
    for name, place in where(python).items():
        (folder / name).symlink_to(place)
    return folder


def main(out: Path, arguments: Sequence[str]) -> int:
    """The exit code of the tests."""
    wheel = built(out.absolute())
    with tempfile.TemporaryDirectory(prefix="decnet-wheel-") as made:
        python = installed(wheel, Path(made) / "venv")
        place = tree(python, Path(made) / "tree")
        print(f"tests run against {wheel.name}, installed in an environment of its own", flush=True)
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {UNDER_TEST: str(wheel)}
        command = [str(python), "-m", "pytest", *arguments]
        return subprocess.run(command, cwd=place, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
