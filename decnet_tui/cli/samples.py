"""``samples``: files that attackers brought, as far as the honeypot kept them; nothing here unpacks or runs one."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from decnet.errors import ExportError
from decnet_tui.cli import common
from decnet_tui.model.words import counted

if TYPE_CHECKING:
    from decnet.config import Settings
    from decnet.db.rows.lists import ListedSample

_SHA256 = re.compile(r"[0-9a-fA-F]{64}\Z")
_UP = 5
"""Folders above a log in which a honeypot may keep what came in."""
_KEPT = (
    "downloads",
    "var/lib/cowrie/downloads",
    "lib/cowrie/downloads",
    "cowrie/downloads",
    "cowrie/var/lib/cowrie/downloads",
    "dl",
)
"""Where Cowrie, T-Pot and DShield keep files, below one of these folders: each under its SHA-256."""
_COLUMNS = ("sha256", "times", "attackers", "first_seen", "last_seen", "names", "sources")
app = typer.Typer(
    help="Files that attackers brought, as far as the honeypot kept them.", rich_markup_mode=None
)


@app.command("list")
def list_(
    since: common.Since = None,
    limit: common.Limit = 100,
    ignored: common.Ignored = False,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Hash, names, sources, how often and by how many, first and last."""
    home = common.home_of(config, data_dir=data_dir, db=db)
    moment = common.parse_since(since)

    async def ask() -> list[ListedSample]:
        async with common.repository(home, only_read=True) as repo:
            return await repo.list_samples(moment, limit, ignored)

    rows = common.run(ask)
    common.print_rows(
        rows,
        _COLUMNS,
        as_json,
        "no files: nobody brought one, or nothing was read yet",
        {"sha256": 64, "sources": 100},
    )


@app.command()
def export(
    digest: Annotated[str, typer.Argument(metavar="HASH", help="SHA-256 of the file.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The zip to write; its password is infected.")
    ],
    folder: Annotated[
        list[Path] | None,
        typer.Option("--from", help="Where the honeypot keeps files, beside the places known. Repeatable."),
    ] = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Writes one file as a zip with the password that malware has everywhere: infected."""
    from decnet.export.lockedzip import locked_zip

    if not _SHA256.match(digest):
        raise typer.BadParameter("HASH is a SHA-256: 64 digits 0-9, a-f")
    settings = common.settings_of(config, data_dir=data_dir, db=db)

    async def write() -> int:
        content = _found(digest.lower(), [*(folder or ()), *places_of(settings)])
        _write(output, locked_zip(digest.lower(), content))
        return len(content)

    size = common.run(write)
    typer.echo(f"{counted(size, 'byte')} to {output}, password infected", err=True)


def places_of(settings: Settings) -> Iterator[Path]:
    """Folders in which the honeypots of the settings may keep files."""
    for sensor in settings.sensors:
        base = sensor.path if sensor.path.is_dir() else sensor.path.parent
        for above in [base, *base.absolute().parents][: _UP + 1]:
            yield from (above / name for name in _KEPT)


def _found(digest: str, folders: Iterable[Path]) -> bytes:
    """The file of a hash. Raises ExportError when it is nowhere, or is not what its name says."""
    looked = 0
    for folder in dict.fromkeys(folders):
        looked += folder.is_dir()
        content = _read(folder / digest)
        if content is not None and hashlib.sha256(content).hexdigest() == digest:
            return content
    where = f"in {looked} folders" if looked else "anywhere: name the honeypot's folder with --from"
    raise ExportError(f"{digest}: not kept {where}")


def _read(path: Path) -> bytes | None:
    """A plain file of a size that can be packed; None for anything else, a link above all."""
    from decnet.export.lockedzip import MAX_BYTES

    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            return None
        if about.st_size > MAX_BYTES:
            raise ExportError(f"{path}: larger than {MAX_BYTES // 2**20} MiB; take it from there")
        return file.read(MAX_BYTES + 1)[: MAX_BYTES + 1]


def _write(output: Path, content: bytes) -> None:
    """A private file, there as a whole or not at all. Raises ExportError."""
    draft = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        draft.replace(output)
    except OSError as error:
        raise ExportError(f"{output} cannot be written: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    root.add_typer(app, name="samples")
