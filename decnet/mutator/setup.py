"""Makes the environment that OpenCanary runs in: apart from the engine's own, since their pins exclude each other."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from decnet.config import MutatorSettings
from decnet.errors import SubstrateError
from decnet.mutator.substrate.opencanary import environment_of, missing_part

MARK = "decnet-complete"
TIMEOUT_S = 900.0
"""Seconds one step may take; packages may have to be fetched."""


def installed_version(environment: Path) -> str | None:
    """The version that a complete environment of ours holds; None for any other."""
    try:
        version = (environment / MARK).read_text("utf-8").strip()
    except OSError:
        return None
    return version if not missing_part(environment) else None


def make_environment(settings: MutatorSettings, data_dir: Path) -> tuple[Path, bool]:
    """The environment, made when it is not there or holds another version; whether it was made now.

    Raises SubstrateError with the last words of the step that failed; an environment that somebody else
    made (``mutator.opencanary_env``) is only looked at.
    """
    environment = environment_of(settings, data_dir).absolute()
    if settings.opencanary_env is not None:
        if why := missing_part(environment):
            raise SubstrateError(f"mutator.opencanary_env: {why}")
        return environment, False
    if installed_version(environment) == settings.opencanary_version:
        return environment, False
    environment.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.rmtree(environment, ignore_errors=True)
    _step([sys.executable, "-m", "venv", str(environment)])
    pip = [
        str(environment / "bin" / "python"),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--quiet",
        "install",
    ]
    _step([*pip, f"opencanary=={settings.opencanary_version}"])
    if why := missing_part(environment):
        raise SubstrateError(f"OpenCanary was installed, but {why}")
    (environment / MARK).write_text(settings.opencanary_version + "\n", "utf-8")
    return environment, True


def _step(arguments: list[str]) -> None:
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)  # noqa: S603  our own interpreter, our own words
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SubstrateError(f"{' '.join(arguments[1:3])}: {error}") from error
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise SubstrateError(
            f"{' '.join(arguments[1:3])} failed: {' | '.join(lines[-3:])[-500:] or done.returncode}"
        )
