"""One more file in the picture of a file system that Cowrie shows (``fs.pickle``). Pure: bytes in, bytes out.

An entry is ``[name, type, uid, gid, size, mode, ctime, contents, target, realfile]``. A pickle can run whatever
its maker likes: here it is read by an unpickler that refuses every class, so that lists, text and numbers are all
there can be.
"""

from __future__ import annotations

import io
import pickle
import posixpath
from typing import Any, Final

from decnet.errors import CanaryError

MAX_PICTURE: Final = 64 * 2**20
"""Longest picture that is read, in bytes; Cowrie's own has 1.2 MB."""
MAX_PATH: Final = 1024
_NAME, _TYPE, _CTIME, _CONTENTS, _FIELDS = 0, 1, 6, 7, 10
_DIRECTORY, _FILE = 1, 2
_DIRECTORY_MODE, _FILE_MODE = 0o40755, 0o100644
_DIRECTORY_SIZE = 4096
_PROTOCOL: Final = 4


class _Plain(pickle.Unpickler):
    """Takes no class and no function, whatever it is called."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it points outside")


def with_file(picture: bytes, path: str, content: bytes) -> bytes:
    """The picture with a file at an absolute path; directories that are missing are made, a file there is replaced.

    The new entries are as old as the directory that they stand in. Raises CanaryError for a picture that is none,
    and for a path that cannot be.
    """
    root = _read(picture)
    *folders, name = parts_of(path)
    here = root
    for folder in folders:
        there = _child(here, folder)
        if there is None:
            there = [folder, _DIRECTORY, 0, 0, _DIRECTORY_SIZE, _DIRECTORY_MODE, here[_CTIME], [], None, None]
            here[_CONTENTS].append(there)
        elif there[_TYPE] != _DIRECTORY:
            raise CanaryError(f"{path}: {folder} is no directory in that file system")
        here = _checked(there)
    old = _child(here, name)
    if old is not None and old[_TYPE] != _FILE:
        raise CanaryError(f"{path}: there is something else than a file in that file system")
    entry = [name, _FILE, 0, 0, len(content), _FILE_MODE, here[_CTIME], content, None, None]
    here[_CONTENTS][:] = [one for one in here[_CONTENTS] if one is not old] + [entry]
    return pickle.dumps(root, protocol=_PROTOCOL)


def parts_of(path: str) -> list[str]:
    """The names of an absolute path. Raises CanaryError for another one."""
    if not path.startswith("/") or posixpath.normpath(path) != path or path == "/" or path.startswith("//"):
        raise CanaryError(f"{path!r:.80} is no absolute path of a file, such as /srv/share/pass.html")
    if len(path) > MAX_PATH or not path.isprintable():
        raise CanaryError("a path has at most 1,024 characters, all of them printable")
    return path[1:].split("/")


def _read(picture: bytes) -> list[Any]:
    if len(picture) > MAX_PICTURE:
        raise CanaryError("the picture of the file system is too large")
    try:
        root = _Plain(io.BytesIO(picture)).load()
    except Exception as error:
        raise CanaryError(f"no picture of a file system: {error}") from error
    return _checked(root)


def _checked(node: Any) -> list[Any]:
    """A directory whose children look like entries. Raises CanaryError."""
    good = _is_entry(node) and isinstance(node[_CONTENTS], list) and all(map(_is_entry, node[_CONTENTS]))
    if not good or node[_TYPE] != _DIRECTORY:
        raise CanaryError("no picture of a file system: a directory is not what it has to be")
    return node  # type: ignore[no-any-return]


def _is_entry(node: Any) -> bool:
    return isinstance(node, list) and len(node) == _FIELDS and isinstance(node[_NAME], str)


def _child(node: list[Any], name: str) -> list[Any] | None:
    return next((one for one in node[_CONTENTS] if one[_NAME] == name), None)
