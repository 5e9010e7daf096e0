"""Source kinds, and the field that a bare ``pattern`` looks at for each. Light on purpose: no database here."""

from __future__ import annotations

KNOWN_SOURCE_KINDS: frozenset[str] = frozenset(
    {
        "command",
        "intel",
        "email",
        "canary_fingerprint",
        "identity",
        "credential",
        "auth_attempt",
        "payload",
        "session",
        "http_request",
        "http_fingerprint",
        "ipv6_leak",
    }
)
"""A producer adds its kind here in the commit that first emits it."""

DEFAULT_FIELDS: dict[str, str] = {
    "command": "command_text",
    "http_request": "raw_url",
    "email": "subject",
    "intel": "verdict",
    "canary_fingerprint": "ua_signature",
    "auth_attempt": "username",
    "payload": "payload_text",
}
"""Kind → field of a pattern that names none."""

CAPPED_FIELD = "views_capped"
"""Field of a command: true when a bound cut some of its views off, else absent."""

PIPED_FIELD = "piped"
"""Field of a command: true when another program reads its output, else absent."""

CONTEXT = "context"
"""Key of a command's payload that holds what its session tells about it: text of a view → Facts. Not of JSON."""

LOGIN = "session.login"
"""Field of a command and of a session: how its lines come to be run, a list. ``default_pair``: got in with a user and
password that devices are delivered with; ``new_user``: as an account that the session itself made."""
LOGIN_REASONS = "session.login reasons"
"""Key of a command's payload that says why, by value. Not of JSON."""

CONTEXT_FIELDS = frozenset(
    {
        LOGIN,         "exec.origin", "exec.via", "exec.tried_dirs", "arg.origin", "arg.trivial", "arg.run_later", "fetch.source", "fetch.path", "write.path", "write.trivial", "write.place",
        "write.names_own", "stdin.origin", "stdin.received", "session.worked", "session.idle", "session.recon",
        "session.last_recon_lines", "later.exec", "answer",
    }
)  # fmt: skip
"""Fields of a command that only its session tells (:mod:`decnet.ttp.context`)."""

COMMAND_FIELDS = frozenset({"command_text", "argv0", "argv", CAPPED_FIELD, PIPED_FIELD}) | CONTEXT_FIELDS
"""Fields of a command that come from its views."""
