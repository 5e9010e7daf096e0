"""Owners of leases: whose process is gone, and whose lease just has to run out."""

from __future__ import annotations

import os
import socket

import pytest

from decnet.runtime import leases
from decnet.runtime.leases import is_dead

HOST = socket.gethostname()


def test_only_a_process_of_this_host_that_does_not_run_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "process_alive", lambda pid: pid == 11)
    assert is_dead(f"{HOST}:12:x")
    assert not is_dead(f"{HOST}:11:x")
    assert not is_dead(f"{HOST}:{os.getpid()}:another-token"), "that is us"
    assert not is_dead("elsewhere:12:x"), "the lease of another host just runs out"
    for odd in ("", "x", f"{HOST}:12", f"{HOST}:-12:x", f"{HOST}:12a:x", f"{HOST}::x", "::"):
        assert not is_dead(odd), odd
