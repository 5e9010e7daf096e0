"""Where things are on this host, and what most commands ask of the settings: light, where all settings are not.

The settings themselves are left to :mod:`decnet.config`, which takes its defaults from here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from decnet.errors import ConfigError

PROGRAM = "decnet-tui"
ENV_PREFIX = "DECNET_"
"""Of the variables that are settings."""


def default_data_dir() -> Path:
    """The user's state directory of this program. Raises ConfigError where nobody knows the user's home."""
    if base := os.environ.get("XDG_STATE_HOME"):
        return Path(base) / PROGRAM
    home = home_dir()
    if home is None:
        raise ConfigError(
            "data_dir: this user has no home directory; name a directory with --data-dir, or set HOME"
        )
    return home / ".local" / "state" / PROGRAM


def home_dir() -> Path | None:
    """The user's home; None for a user of a service or container who has none."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def _package() -> Path:
    return Path(__file__).resolve().parent


def packaged_rules_dir() -> Path:
    """The rule pack that ships with the package (``rules/ttp`` in a checkout)."""
    inside = _package() / "_data" / "rules" / "ttp"
    return inside if inside.is_dir() else _package().parent / "rules" / "ttp"


def packaged_demo_dir() -> Path:
    """The demo recording that ships with the package."""
    return _package() / "_data" / "demo"


def db_url_of(data_dir: Path, db: str | None) -> str:
    """The database that is named, else the file in the data directory; a file is one from wherever the URL is used."""
    scheme, found, path = (db or f"sqlite:///{data_dir / 'decnet.sqlite'}").partition(":///")
    if scheme.startswith("sqlite") and path:
        path = str(Path(path).absolute())
    return f"{scheme}{found}{path}"


def cache_dir(data_dir: Path) -> Path | None:
    """Where what can be made again is kept: in the data directory if there is one, else in the user's cache, if any."""
    if data_dir.is_dir():
        return data_dir / "cache"
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / PROGRAM
    home = home_dir()
    return None if home is None else home / ".cache" / PROGRAM


def settings_in_environment() -> bool:
    """Whether the environment says anything of the settings."""
    return any(name.upper().startswith(ENV_PREFIX) for name in os.environ)


class Home(NamedTuple):
    """What a command that only reads asks of the settings."""

    data_dir: Path
    rules: Path
    db: str | None = None

    @property
    def db_url(self) -> str:
        """Database URL in effect."""
        return db_url_of(self.data_dir, self.db)


def holds_password(url: str) -> bool:
    """Whether a database URL holds a password, as its user's or among its options; one that cannot be read may."""
    from sqlalchemy import make_url  # here: it reads URLs as the engine does, and only who asks waits for it
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return True
    return parsed.password is not None or any("pass" in name.lower() for name in parsed.query)


def with_database(db: str | None) -> dict[str, str]:
    """The environment of a process of ours that is to work on the same database.

    Its URL may hold a password, and everybody on the host may read the arguments of a process.
    """
    return {**os.environ, f"{ENV_PREFIX}DB": db} if db else dict(os.environ)
