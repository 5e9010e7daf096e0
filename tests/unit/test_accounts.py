"""Which accounts a session makes, and which of its lines run as one of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.shell.accounts import MAX_ACCOUNTS, Accounts


def acting(*lines: str) -> list[bool]:
    accounts = Accounts()
    return [accounts.line(line, number) is not None for number, line in enumerate(lines, start=1)]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("useradd bob", "bob"), ("useradd -m -s /bin/bash bob", "bob"), ("useradd bob -s /bin/bash -g 0", "bob"),
        ("/usr/sbin/useradd -o -u 0 -p x bob", "bob"), ("adduser bob", "bob"), ("adduser -D -s /bin/sh bob", "bob"),
        ("adduser -S -H bob", "bob"), ("adduser --disabled-password --gecos '' bob", "bob"), ("sudo adduser bob sudo", "bob"),
        ("sudo -u root useradd bob", "bob"), ("busybox adduser bob", "bob"), ("id && useradd bob; id", "bob"),
        ("echo 'bob:x:0:0::/root:/bin/bash' >> /etc/passwd", "bob"),
        ('printf "bob:x:1001:1001::/home/bob:/bin/sh\\n" | tee -a /etc/passwd', "bob"),
        ("newusers <<< 'bob:pw:1001:1001:Bob:/home/bob:/bin/sh'", "bob"),
    ],
)  # fmt: skip
def test_accounts_that_are_made(line: str, name: str) -> None:
    accounts = Accounts()
    accounts.line(line, 7)
    assert accounts.made == {name: f"made by line 7: {line[:80]}"}


@pytest.mark.parametrize(
    "line",
    [
        "useradd", "useradd -D", "useradd $USER", "cat /etc/passwd", "grep bob /etc/passwd", "which useradd", "man adduser",
        "echo 'bob:x:0:0::/root:/bin/bash'", "cat /etc/passwd | cut -d: -f1", "userdel bob", "chpasswd",
    ],
)  # fmt: skip
def test_lines_that_make_none(line: str) -> None:
    accounts = Accounts()
    accounts.line(line, 1)
    assert accounts.made == {}


@pytest.mark.parametrize(
    "line",
    [
        "su bob", "su - bob", "su -l bob", "su bob -c id", "su -c id bob", "su - -s /bin/sh bob", "sudo -u bob id", "sudo -ubob id",
        "sudo --user=bob id", "sudo -i -u bob", "doas -u bob id", "runuser -u bob id", "runuser -l bob", "login bob", "login -f bob",
        "ssh bob@localhost", "ssh -o StrictHostKeyChecking=no bob@127.0.0.1 id", "ssh -l bob localhost", "setpriv --reuid bob id",
        "gosu bob id", "cd /; su bob", "exec su - bob", "nohup su bob -c id &",
    ],
)  # fmt: skip
def test_lines_that_run_as_the_account(line: str) -> None:
    assert acting(line, "useradd bob", line) == [False, False, True]


@pytest.mark.parametrize(
    "line",
    ["su", "su root", "su - root -c 'su'", "sudo id", "sudo -u root bob", "ssh bob@192.0.2.7", "ssh localhost", "login", "echo su bob", "id bob"],
)  # fmt: skip
def test_lines_that_run_as_somebody_else(line: str) -> None:
    assert acting("useradd bob", line) == [False, False]


def test_what_follows_runs_as_the_account_until_its_shell_ends() -> None:
    assert acting("useradd bob", "su - bob", "id", "exit", "id") == [False, True, True, True, False]
    assert acting("useradd bob", "su bob -c id", "id") == [False, True, False]
    assert acting("useradd bob", "sudo -i -u bob", "id", "logout", "id") == [False, True, True, True, False]
    assert acting("useradd bob", "ssh bob@localhost uptime", "id") == [False, True, False]
    assert acting("useradd bob", "useradd eve", "su bob", "su eve", "exit", "id", "exit", "id") == [
        False, False, True, True, True, True, True, False,
    ]  # fmt: skip


def test_the_bound_is_counted() -> None:
    accounts = Accounts()
    for number in range(MAX_ACCOUNTS):
        accounts.line(f"useradd u{number}", number)
    assert (len(accounts.made), accounts.dropped) == (MAX_ACCOUNTS, 0)
    accounts.line("useradd more; useradd u1", 99)
    assert (len(accounts.made), accounts.dropped) == (MAX_ACCOUNTS, 1)


@given(
    st.lists(st.text(alphabet="su doexit-lcp@|;&'\"$(){}<>=/\n useradd login bob:0", max_size=60), max_size=6)
)
def test_nothing_that_is_typed_stops_it(lines: list[str]) -> None:
    acting("useradd bob", *lines)
