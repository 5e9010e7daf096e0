"""The second half of ``make fuzz``: inputs that are bred by what code they reach, with atheris.

    python -m tests.fuzz.guided [--seconds 60] [READER...]

What was bred stays in ``fuzz/READER``, and the next run goes on from it. An input that fails, or takes longer than
:data:`SLOW_S`, is made small and kept in ``tests/fuzz/corpus`` like any other. Ends with 1 when there was one.
atheris has wheels for some systems only: elsewhere this says so, and what hypothesis drew has to do.

Each reader has a process of its own, since libFuzzer ends the one it works in.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.keeping import fails, keep, kept, smaller, tried
from tests.fuzz.mutating import MAX_BYTES
from tests.fuzz.targets import TARGETS

BRED = Path(__file__).parents[2] / "fuzz"
INSTRUMENTED = ["decnet", "tests.fuzz"]
SLOW_S = 10
MEMORY_MB = 2048
PLACE = "tests.fuzz.targets"
"""The module with the functions of all readers, by their names."""


def child(place: str, arguments: list[str]) -> None:
    """Breeds inputs for the function ``MODULE:NAME`` until libFuzzer ends this process.

    The second argument is the folder of the seeds: they are tried at once, since some modules are loaded by use only.
    """
    atheris = importlib.import_module("atheris")
    module, _, name = place.partition(":")
    # This module has loaded what has to be instrumented.
    for known in [known for known in sys.modules if known.partition(".")[0] in ("decnet", "tests")]:
        del sys.modules[known]
    with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
        run = getattr(importlib.import_module(module), name)
        trying = importlib.import_module(tried.__module__).tried
        for seed in sorted(Path(arguments[1]).iterdir()):
            with suppress(Exception):  # libFuzzer tries it again and says so
                trying(run, seed.read_bytes())
    atheris.Setup([sys.argv[0], *arguments], lambda data: trying(run, bytes(data)))
    atheris.Fuzz()


def quoted(words: Iterable[bytes]) -> str:
    """Words as a dictionary of libFuzzer: https://llvm.org/docs/LibFuzzer.html#dictionaries"""
    return "# none is empty\n" + "".join(
        '"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in words
    )


def breed(
    place: str, seeds: Iterable[bytes], words: Iterable[bytes], bred: Path, seconds: int
) -> tuple[list[bytes], str]:
    """Inputs that fail, none or one, and the last of what libFuzzer says. Raises RuntimeError when it fails itself."""
    bred.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as made:
        folder = Path(made)
        for part in ("seeds", "found"):
            (folder / part).mkdir()
        for number, seed in enumerate(seeds):
            (folder / "seeds" / str(number)).write_bytes(seed)
        (folder / "words").write_text(quoted(words), "ascii")
        options = [
            str(bred), str(folder / "seeds"), f"-dict={folder / 'words'}", f"-artifact_prefix={folder / 'found'}/",
            f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", f"-timeout={SLOW_S}", f"-rss_limit_mb={MEMORY_MB}",
            "-print_final_stats=0",
        ]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", __spec__.name, "--child", place, "--", *options], capture_output=True, check=False,
            cwd=BRED.parent, timeout=10 * (seconds + 60),
        )  # fmt: skip
        found = [path.read_bytes() for path in sorted((folder / "found").iterdir())]
    said = done.stderr.decode("utf-8", "replace")
    if done.returncode and not found:
        raise RuntimeError(f"{place}: atheris ended with {done.returncode}:\n{said[-2000:]}")
    lines = [line for line in said.splitlines() if line.startswith(("#", "Done")) and "exec/s" in line]
    return found, lines[-1] if lines else ""


def hunted(name: str, run: Callable[[bytes], object], found: bytes) -> Path:
    """Makes an input small, if it fails at once, and keeps it; where."""
    return keep(name, smaller(run, found) if fails(run, found) else found)


def main(names: list[str], seconds: int) -> int:
    """Breeds for each reader in turn and says what came of it; the exit code."""
    if find_spec("atheris") is None:
        print(
            "NOT BRED: atheris is not installed, it has no wheel for this system; what hypothesis drew has to do"
        )
        return 0
    wrong = 0
    for name in names or TARGETS:
        target = TARGETS[name]
        found, said = breed(
            f"{PLACE}:{target.run.__name__}",
            [*target.seeds(), *kept(name)],
            target.words,
            BRED / name,
            seconds,
        )
        print(f"{name:12}{said}", flush=True)
        for data in found:
            wrong += 1
            print(f"{name}: FAILS, kept in {hunted(name, target.run, data)}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each reader")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.readers)
    if strange := set(args.readers) - set(TARGETS):
        parser.error(f"no reader: {', '.join(sorted(strange))}")
    sys.exit(main(args.readers, args.seconds))
