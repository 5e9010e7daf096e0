"""What a stranger asks of a container that he has Docker make, as words that rules know; pure.

The body of ``POST /containers/create`` says what of its host the container is to have. Source: Docker Engine API v1.43,
ContainerCreate. The words are those of the rules about ways out of a container.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_SOCKET = "/docker.sock"
_ALL_POWERS = frozenset({"ALL", "SYS_ADMIN", "CAP_SYS_ADMIN"})


def container_signals(body: str) -> str | None:
    """The words with blanks between them, none where nothing leads out; None for a body that is no JSON object."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(asked, dict):
        return None
    host = asked.get("HostConfig")
    found = [*_of_host(host if isinstance(host, dict) else {}), *_of_command(_words(asked))]
    return " ".join(sorted(set(found)))


def _of_host(host: Mapping[str, Any]) -> Iterator[str]:
    if host.get("Privileged") is True:
        yield "privileged_container"
    if host.get("PidMode") == "host":
        yield "host_pid"
    if host.get("NetworkMode") == "host":
        yield "host_network"
    if any(str(power).upper() in _ALL_POWERS for power in _list(host.get("CapAdd"))):
        yield "cap_sys_admin"
    for source in _sources(host):
        yield "docker_sock" if source.endswith(_SOCKET) else "host_mount"


def _sources(host: Mapping[str, Any]) -> Iterator[str]:
    """Paths of the host that are to be seen from inside; a volume has a name, and no path."""
    binds = [str(bind).partition(":")[0] for bind in _list(host.get("Binds"))]
    mounts = [one.get("Source") for one in _list(host.get("Mounts")) if isinstance(one, dict)]
    yield from (str(source) for source in (*binds, *mounts) if str(source).startswith("/"))


def _words(asked: Mapping[str, Any]) -> str:
    parts = (asked.get(name) for name in ("Entrypoint", "Cmd"))
    return " ".join(
        str(word) for part in parts for word in (part if isinstance(part, list) else [part]) if word
    )


def _of_command(command: str) -> Iterator[str]:
    if "nsenter" in command:
        yield "nsenter_host"
    if "release_agent" in command:
        yield "cgroup_release_agent"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
