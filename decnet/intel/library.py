"""The operator's files: which there are, what each one holds, and what is wrong with it; taken over anew when one changes.

A new file that cannot be used leaves the one before it in force, is counted, and is named with the place of its error.
What the answers of several files come to is left to :mod:`decnet.intel.places`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from decnet.config import IntelFile, IntelSettings
from decnet.errors import IntelError
from decnet.hostile import storable_text
from decnet.intel.answers import Said
from decnet.intel.mmdb import read_mmdb
from decnet.intel.reading import Limits, OfNoUse, Stamp, Tally, opened, stamp_of
from decnet.intel.tables import Table, read_cidr, read_csv, read_iptoasn
from decnet.intel.warninglists import read_warninglist

MAX_DEPTH: Final = 4
"""Levels of folders below the first that are looked into."""
_BY_SUFFIX: Final[Mapping[str, str]] = {
    ".mmdb": "mmdb",
    ".tsv": "iptoasn",
    ".csv": "csv",
    ".json": "warninglist",
    **dict.fromkeys((".txt", ".cidr", ".list", ".lst", ".netset", ".ipset", ".zone"), "cidr"),
}


class Content(Protocol):
    """What was read from one file."""

    entries: int
    unit: str
    listing: bool
    name: str | None
    dated: float | None

    def said_of(self, address: str, number: int) -> Said | None:
        """What it says of an address, given as canonical text and as number."""


def _read_unnamed(handle: BinaryIO, limits: Limits, tally: Tally) -> Content:
    raise IntelError(f"{tally.file}: its name does not say what it is: give its kind in intel.files")


_READERS: Final[dict[str, Callable[[BinaryIO, Limits, Tally], Content]]] = {
    "mmdb": read_mmdb,
    "iptoasn": read_iptoasn,
    "csv": read_csv,
    "cidr": read_cidr,
    "warninglist": read_warninglist,
    "": _read_unnamed,
}


@dataclass(slots=True)
class Source:
    """One file: what of it is in force, and what is wrong with it now."""

    path: Path
    kind: str
    given_name: str | None
    rank: int
    """Its place among the files of the settings; those of the folder have the one behind."""
    content: Content | None = None
    tally: Tally | None = None
    """What could not be read of the content in force."""
    stamp: Stamp | None = None
    """Of the content in force."""
    error: str = ""
    """Why the file as it is now is not used; empty when it is."""
    of_no_use: bool = False
    """Whether that is because it holds nothing that is used, and no fault."""
    tried: tuple[Stamp | None, int] | None = None
    """The file that was last tried, and the room there was for it."""

    @property
    def name(self) -> str:
        """What the operator called it, or what it calls itself, or what the file is called."""
        inside = self.content.name if self.content is not None else None
        return self.given_name or inside or _stem(self.path)

    @property
    def state(self) -> str:
        """``ok``; ``old``, when the file before it is in force; ``unused``; ``failed``."""
        if not self.error:
            return "ok"
        if self.content is not None:
            return "old"
        return "unused" if self.of_no_use else "failed"

    @property
    def dated(self) -> float | None:
        """When the data in force were made (epoch seconds), as far as the file or its time tells."""
        if self.content is None or self.stamp is None:
            return None
        return self.content.dated or self.stamp.modified_ns / 1e9


class Library:
    """All files; :meth:`refresh` looks for changes. One thread may refresh while others ask what was read."""

    def __init__(self, settings: IntelSettings, folder: Path) -> None:
        self._settings, self._folder = settings, folder
        self.sources: tuple[Source, ...] = ()
        self.passed_over: dict[str, str] = {}
        """Files of the folder that are not read, with the reason."""
        self.taken = 0
        """Files that were taken over, new ones and changed ones."""
        self.refused = 0
        """Files that could not be used; what was before stayed in force."""

    def refresh(self) -> list[Source]:
        """Reads what is new or changed, and lets go of what is not there any more; the sources that changed.

        Takes seconds for large files. Never raises for a file's sake.
        """
        passed: dict[str, str] = {}
        known = {source.path: source for source in self.sources}
        found = [known.pop(new.path, new) for new in self._wanted(passed)]
        changed = [*known.values(), *(source for source in found if self._look(source, found))]
        self.sources, self.passed_over = tuple(found), passed
        return changed

    def _wanted(self, passed: dict[str, str]) -> Iterator[Source]:
        """The files of the settings, then those of the folder; what is not read is put into ``passed``."""
        named = {Path(os.path.abspath(one.path)): one for one in self._settings.files}
        for rank, (path, one) in enumerate(named.items()):
            yield Source(path, _kind_of(one), one.name, rank)
        for count, path in enumerate(self._in_folder(passed)):
            if count >= self._settings.max_files:
                passed[str(self._folder)] = (
                    f"over {self._settings.max_files} files (intel.max_files): the rest is not read"
                )
                return
            kind = kind_by_name(path)
            if path in named:
                continue
            if kind is None:
                passed[str(path)] = "its name does not say what it is: name it in intel.files with its kind"
            else:
                yield Source(path, kind, None, len(named))

    def _in_folder(self, passed: dict[str, str]) -> Iterator[Path]:
        """Files of the folder and those below in order; hidden ones are none."""
        if not self._folder.is_dir():
            if self._settings.folder is not None or self._folder.exists():
                passed[str(self._folder)] = "no folder"
            return
        top = Path(os.path.abspath(self._folder))
        for here, folders, names in os.walk(
            top, onerror=lambda e: passed.update({str(e.filename): str(e.strerror)})
        ):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if len(Path(here).relative_to(top).parts) >= MAX_DEPTH:
                passed.update((str(Path(here, name)), "too deep in folders") for name in folders)
                folders.clear()
            yield from (Path(here, name) for name in sorted(names) if not name.startswith("."))

    def _look(self, source: Source, among: Sequence[Source]) -> bool:
        """Reads a file if it changed since it was last tried; whether something is other than before."""
        try:
            stamp = stamp_of(os.stat(source.path))
        except OSError as error:
            gone = isinstance(error, FileNotFoundError)
            return self._unreachable(
                source, "no such file" if gone else f"cannot be read: {error.strerror or error}", gone
            )
        room = self._settings.max_entries - sum(
            one.content.entries for one in among if one is not source and isinstance(one.content, Table)
        )
        if (
            source.tried is not None
            and source.tried[0] == stamp
            and not (source.error and room > source.tried[1])
        ):
            return False
        source.tried = (stamp, room)
        self._read(source, Limits(self._settings.max_file_bytes, max(0, room)))
        return True

    def _read(self, source: Source, limits: Limits) -> None:
        tally = Tally(str(source.path))
        try:
            with opened(source.path, limits) as (handle, stamp):
                content = _READERS[source.kind](handle, limits, tally)
        except IntelError as error:
            source.error, source.of_no_use = str(error), isinstance(error, OfNoUse)
            self.refused += source.state != "unused"
        else:
            source.content, source.tally, source.stamp = content, tally, stamp
            source.error, source.of_no_use = "", False
            self.taken += 1

    def _unreachable(self, source: Source, why: str, gone: bool) -> bool:
        """There is no file, or none that can be looked at; of one that is gone nothing stays."""
        before = (source.error, source.content)
        if gone:
            source.content = source.tally = source.stamp = None
        source.tried, source.of_no_use = None, False
        source.error = f"{source.path}: {why}"
        self.refused += source.error != before[0]
        return before != (source.error, source.content)


def kind_by_name(path: Path) -> str | None:
    """The kind of a file by the end of its name, ``.gz`` aside; None when it does not say."""
    return _BY_SUFFIX.get(Path(_unpacked_name(path)).suffix.lower())


def _kind_of(one: IntelFile) -> str:
    return (kind_by_name(one.path) or "") if one.kind == "auto" else one.kind


def _unpacked_name(path: Path) -> str:
    return path.name[:-3] if path.name.lower().endswith(".gz") else path.name


def _stem(path: Path) -> str:
    return storable_text(Path(_unpacked_name(path)).stem)
