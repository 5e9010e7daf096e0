"""Honeypot services and their usual ports."""

from __future__ import annotations

SERVICE_PORTS: dict[str, int] = {
    "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "http": 80, "smb": 445, "https": 443,
    "mysql": 3306, "rdp": 3389, "postgres": 5432, "vnc": 5900, "redis": 6379,
}  # fmt: skip
"""Service name to the port IANA lists for it."""

LOGIN_SERVICES = frozenset({"ssh", "telnet"})
"""Services whose sessions have a shell."""
