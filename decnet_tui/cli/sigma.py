"""``rules import-sigma``: reading a directory of Sigma rules, writing those that are carried over, telling of every one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decnet.hostile import visible
from decnet_tui.cli import common
from decnet_tui.cli.bar import Bar
from decnet_tui.model.words import counted

if TYPE_CHECKING:
    from decnet.ttp.sigma.importing import Imported

_VERSION = re.compile(r"(?m)^rule_version: (\d{1,9})$")
_ORIGIN = re.compile(r"(?m)^origin:\n(?:  .*\n)*?  format: sigma$")
_WIDE = 200


def import_sigma(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Sigma rules: a directory, or one file.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="Where the rules are written.")
    ] = Path("sigma-rules"),
    licence: Annotated[
        str, typer.Option(help="Licence of rules that name none (default: what LICENSE beside them says).")
    ] = "",
    technique: Annotated[
        str | None, typer.Option(help="ATT&CK technique for rules that name none, such as T1059.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell; write nothing.")] = False,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
) -> None:
    """Turns Sigma rules (Linux process_creation, web server access, correlations) into rules of ours.

    Says for each what could not be carried over and why; author, id, licence and level stay with the rule. Nothing is in
    force by this: read them, `rules check` and `rules test` them, and put those you want beside your rules.
    """
    common.settings_of(config, data_dir=data_dir)  # which release of ATT&CK is in use
    if not directory.exists():
        common.fail(f"{directory}: no such directory")
    known = {} if dry_run else _known(out)
    found = _imported(directory, licence, technique, known)
    if not found:
        common.fail(f"no Sigma rules (*.yml, *.yaml) in {directory}")
    gone: list[str] = []
    if not dry_run:
        gone = _write(out, {name: text for one in found for name, text in one.files.items()}, known)
    _tell(found, None if dry_run else out, gone, as_json)
    if not any(one.files for one in found):
        raise typer.Exit(1)


def _imported(
    directory: Path, licence: str, technique: str | None, known: Mapping[str, str]
) -> list[Imported]:
    from decnet.attack.catalogue import load_catalogue

    try:
        from decnet.ttp.sigma.importing import Importer
    except ModuleNotFoundError:
        common.fail(
            "Sigma rules are read by pySigma, which is not installed: pip install 'decnet-tui[sigma]'"
        )
    if technique is not None and load_catalogue().resolve(technique.upper()) is None:
        raise typer.BadParameter(f"no ATT&CK technique {technique!r:.40}")
    importer = Importer(licence=licence, technique=technique, versions=_versions(known))
    found = []
    with Bar("import") as bar:
        for one in importer.run(directory):
            found.append(one)
            bar.count(visible(one.title, 40), 1)
    return found


# --- files


def _known(out: Path) -> dict[str, str]:
    """What an earlier import left in the directory, by name; ends the command where others' rules would be overwritten."""
    if out.exists() and not out.is_dir():
        common.fail(f"{out} is no directory")
    known = {path.name: path.read_text(encoding="utf-8") for path in sorted(out.glob("sigma_*.yaml"))}
    if strange := [name for name, text in known.items() if not _ORIGIN.search(text)]:
        common.fail(f"{out / strange[0]} is no imported rule: move it away, or choose another --out")
    return known


def _versions(known: Mapping[str, str]) -> Callable[[str, str], int]:
    """A rule that says the same keeps its version; one that changed has the next."""

    def version(name: str, text: str) -> int:
        before = _VERSION.search(known.get(name, ""))
        if before is None:
            return 1
        same = _VERSION.sub("", known[name]) == _VERSION.sub("", text)
        return int(before[1]) + (not same)

    return version


def _write(out: Path, files: Mapping[str, str], known: Mapping[str, str]) -> list[str]:
    """Writes what changed; the names of earlier files that this import does not have."""
    from decnet.ttp.rule_schema import SCHEMA_NAME, rendered

    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in {**files, SCHEMA_NAME: rendered()}.items():
            if known.get(name) != text:
                (out / name).write_text(text, encoding="utf-8")
    except OSError as error:
        common.fail(f"{out}: cannot be written: {error.strerror}")
    return sorted(known.keys() - files.keys())


# --- telling


def _tell(found: Sequence[Imported], out: Path | None, gone: Sequence[str], as_json: bool) -> None:
    if as_json:
        typer.echo(common.to_json([_row(one) for one in found]))
        return
    for one in found:
        _line(one)
    carried = sum(bool(one.files) for one in found)
    files = sum(len(one.files) for one in found)
    typer.echo("")
    typer.echo(f"{carried} of {counted(len(found), 'Sigma rule')} carried over ({carried / len(found):.0%})")
    for reason, count in Counter(_kind(one.reason) for one in found if one.reason).most_common():
        typer.echo(f"  {count} not: {visible(reason, _WIDE)}")
    if out is not None and files:
        typer.echo(
            f"{counted(files, 'file')} in {visible(out)}: next `decnet-tui rules check {visible(out)}`"
        )
    if gone:
        typer.echo(f"{counted(len(gone), 'file')} of an earlier import {'is' if len(gone) == 1 else 'are'} not in this one: {visible(', '.join(gone), _WIDE)}")  # fmt: skip


def _row(one: Imported) -> dict[str, Any]:
    return {**asdict(one), "files": sorted(one.files), "carried": bool(one.files)}


def _line(one: Imported) -> None:
    title = visible(one.title or one.where, 90)
    if one.reason:
        typer.echo(f"- {title}: {visible(one.reason, _WIDE)}")
        return
    typer.echo(f"+ {visible(' '.join(one.rule_ids), 90)} {title}")
    for note in one.notes:
        typer.echo(f"    {visible(note, _WIDE)}")


def _kind(reason: str) -> str:
    """A reason without the names in it, so that like ones count together."""
    text = re.sub(r"\(only [^)]*\)", "", reason)
    text = re.sub(r"it asks for .*?, which", "it asks for fields, which", text)
    return re.sub(r"^[^:]{1,60}: (?=lookaround|back-references)", "", text).replace(" :", ":")
