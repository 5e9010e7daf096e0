"""What we ship is known: every locked part is in the list of parts, known faults are judged, the lock is what it says."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import pytest

from tests.supply import audit, sbom, wheel
from tests.supply.lock import LOCK, parts

LOCKED = LOCK.read_text("utf-8")
SMALL = f"""# made by a tool
left==1.0 \\
    --hash=sha256:{"a" * 64} \\
    --hash=sha256:{"b" * 64}
    # via decnet-tui (pyproject.toml)
right-hand==2.0 ; os_name == 'nt' \\
    --hash=sha256:{"c" * 64}
    # via
    #   left
    #   decnet-tui:build
"""


def test_a_lock_is_read_whole() -> None:
    left, right = parts(SMALL)
    assert (left.name, left.version, left.hashes, left.by, left.own) == (
        "left",
        "1.0",
        ["a" * 64, "b" * 64],
        [],
        True,
    )
    assert (right.marker, right.by, right.own) == ("os_name == 'nt'", ["left"], True)


@pytest.mark.parametrize(
    "text",
    [
        "left>=1.0\n",
        "left==1.0\n",
        f"    --hash=sha256:{'a' * 64}\n",
        "-e .\n",
        f"left==1.0 \\\n    --hash=md5:{'a' * 32}\n",
    ],
)
def test_what_is_not_locked_and_hashed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"lock|hash"):
        parts(text)


def test_every_part_of_the_lock_is_in_the_bill_and_every_reference_is_one() -> None:
    made = sbom.bill(LOCKED)
    assert (made["bomFormat"], made["specVersion"], made["version"]) == ("CycloneDX", "1.6", 1)
    refs = [one["bom-ref"] for one in made["components"]]
    assert refs == [one["purl"] for one in made["components"]]
    assert len(set(refs)) == len(refs) == LOCKED.count("==") - LOCKED.count(" == ")
    wants = {row["ref"]: set(row["dependsOn"]) for row in made["dependencies"]}
    own = made["metadata"]["component"]["bom-ref"]
    assert set(wants) == {own, *refs}
    assert set().union(*wants.values()) <= set(refs)
    reached, todo = set[str](), [own]
    while todo:
        ref = todo.pop()
        if ref not in reached:
            reached.add(ref)
            todo += wants[ref]
    assert reached == {own, *refs}, "nothing is there that nobody asks for"


def test_the_bill_names_what_pyproject_asks_for() -> None:
    asked = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"][
        "dependencies"
    ]
    names = {sbom.purl(one.partition(">")[0].partition("[")[0], "").removesuffix("@") for one in asked}
    rows = {row["ref"]: row["dependsOn"] for row in sbom.bill(LOCKED)["dependencies"]}
    own = next(refs for ref, refs in rows.items() if "decnet-tui" in ref)
    assert names <= {ref.partition("@")[0] for ref in own}


def test_the_same_lock_gives_the_same_bill_and_another_one_another(tmp_path: Path) -> None:
    assert sbom.main(tmp_path / "a" / "one.json") == sbom.main(tmp_path / "two.json") == 0
    assert (tmp_path / "a" / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert sbom.bill(SMALL)["serialNumber"] != json.loads((tmp_path / "two.json").read_text())["serialNumber"]


def test_licences_are_those_of_the_version_that_is_locked() -> None:
    known = {part.name: part for part in parts(LOCKED)}
    assert sbom.licences("textual", known["textual"].version) != []
    assert sbom.licences("textual", "0.0.1") == sbom.licences("no-such-part", "1") == []


# --- known faults


def report(*faults: str) -> str:
    vulns = [{"id": ident, "fix_versions": ["2.0"]} for ident in faults]
    return json.dumps(
        {
            "dependencies": [
                {"name": "left", "version": "1.0", "vulns": vulns},
                {"name": "right", "version": "2.0"},
            ]
        }
    )


def says(tmp_path: Path, out: str, code: int = 0, err: str = "") -> list[str]:
    """A program in the place of pip-audit."""
    program = f"import sys; sys.stdout.write({out!r}); sys.stderr.write({err!r}); sys.exit({code})"
    return [sys.executable, "-c", program]


@pytest.mark.parametrize(
    ("found", "explained", "code", "said"),
    [
        ((), (), 0, "2 parts, no fault that is not explained"),
        (("PYSEC-1",), (), 1, "PYSEC-1: left 1.0, mended in 2.0"),
        (("PYSEC-1",), ("PYSEC-1",), 0, "2 parts, no fault"),
        (("PYSEC-2",), ("PYSEC-1",), 1, "PYSEC-1: explained, and there is no such fault any more"),
        ((), ("PYSEC-1",), 1, "no such fault any more"),
    ],
)
def test_a_fault_of_a_part_is_explained_or_fails(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    found: tuple[str, ...],
    explained: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    (reasons := tmp_path / "audit.toml").write_text(
        "".join(f'[[fault]]\nid = "{ident}"\nreason = "x"\n' for ident in explained)
    )
    assert audit.main(says(tmp_path, report(*found), 1 if found else 0), reasons) == code
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("command", ["silent", "words", "gone", "other"])
def test_what_cannot_be_reached_is_said_and_is_no_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    commands = {
        "silent": says(tmp_path, "", 2), "words": says(tmp_path, "no", 1, "first\nerror: no route to host\n"),
        "gone": [str(tmp_path / "none")], "other": says(tmp_path, "[]"),
    }  # fmt: skip
    assert audit.main(commands[command]) == 0
    out = capsys.readouterr().out
    assert out.startswith("NOT AUDITED")
    assert "no route to host" in out or command != "words"


def test_the_explanations_that_stand_have_reasons() -> None:
    rows = tomllib.loads(audit.EXPLAINED.read_text("utf-8")).get("fault", [])
    assert [row for row in rows if not row.get("id") or len(row.get("reason", "")) < 20] == []


# --- the built package


def test_packages_of_a_checkout_are_not_the_installed_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    places = {
        "decnet": tmp_path / "venv" / "lib" / "decnet",
        "decnet_tui": tmp_path / "venv" / "lib" / "decnet_tui",
    }
    monkeypatch.setattr(wheel, "_said", lambda _, program: str(places[program.split(";")[0].split()[1]]))
    assert wheel.where(python) == places
    places["decnet_tui"] = tmp_path / "checkout" / "decnet_tui"
    with pytest.raises(ValueError, match=r"not the installed packages: .*checkout/decnet_tui"):
        wheel.where(python)


def test_the_one_check_tests_the_built_wheel_and_nothing_else() -> None:
    text = (Path(__file__).parents[2] / "Makefile").read_text("utf-8")
    check = text.partition("\ncheck:")[2].partition("\n\n")[0]
    assert "tests.supply.wheel" in check
    assert "pytest" not in check
