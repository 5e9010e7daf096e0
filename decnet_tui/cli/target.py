"""The file that a command was asked to write, and no other: private, and there as a whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from decnet.errors import ExportError

Write = Callable[[str], object]


@contextmanager
def written_to(output: Path) -> Iterator[Write]:
    """What takes the text: written beside the file and renamed, so a full disk leaves the old one. Raises ExportError."""
    if str(output) == "-":
        yield sys.stdout.write
        return
    draft = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with os.fdopen(
            os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            yield file.write
        draft.replace(output)
    except OSError as error:
        raise ExportError(f"{output} cannot be written: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
