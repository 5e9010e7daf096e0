"""Inputs that fail: made small, kept under the hash of their bytes in ``corpus/READER``, and tried ever after."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from decnet.errors import DecnetError

CORPUS = Path(__file__).parent / "corpus"


def tried(run: Callable[[bytes], object], data: bytes) -> None:
    """Raises whatever is no error of ours."""
    with suppress(DecnetError):
        run(data)


def kept(name: str) -> list[bytes]:
    folder = CORPUS / name
    return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []


def keep(name: str, data: bytes) -> Path:
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return path


def smaller(run: Callable[[bytes], object], data: bytes) -> bytes:
    """What is left of an input that fails when everything is cut out without which it still fails."""
    step = max(len(data) // 2, 1)
    while step:
        place = 0
        while place < len(data):
            rest = data[:place] + data[place + step :]
            if fails(run, rest):
                data = rest
            else:
                place += step
        step //= 2
    return data


def fails(run: Callable[[bytes], object], data: bytes) -> bool:
    try:
        tried(run, data)
    except Exception:  # noqa: BLE001  any fault is what is looked for
        return True
    return False
