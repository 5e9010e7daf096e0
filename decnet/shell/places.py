"""What kind of place a path is in: programs, temporary, start-up, keys, or any other; pure."""

from __future__ import annotations

import re

BIN, TMP, STARTUP, KEYS, OTHER = "bin", "tmp", "startup", "keys", "other"
_KINDS = (
    (KEYS, re.compile(r"/\.ssh/|/authorized_keys\d?\Z|/ssh/ssh_host_")),
    (
        STARTUP,
        re.compile(
            r"/rc\d?(?:\.d|\.local)\b|/init\.d/|/systemd/|/cron|/inittab\Z|/profile(?:\.d)?\b|/\.(?:bashrc|profile|bash_profile"
            r"|zshrc|xinitrc)\Z|/bash\.bashrc\Z|/autostart/|/ld\.so\.preload\Z"
        ),
    ),
    (TMP, re.compile(r"/(?:tmp|var/tmp|dev/shm|run|var/run|var/lock|mnt|dev|usr/tmp)/")),
    (BIN, re.compile(r"/s?bin/")),
)
"""The first that holds counts. Of ``/dev``: a file that is put there hides among devices."""

_DEVICE = re.compile(
    r"/dev/(?:null|zero|full|u?random|tty\w*|pts/|tcp/|udp/|std(?:in|out|err)|fd/|console|kmsg|k?mem|watchdog\d*|[hsv]d[a-z]\d*"
    r"|mmcblk|mtd|nvme|loop\d|sr\d)"
)


def is_device(path: str) -> bool:
    """Whether what is written to a path is no file; ``/dev/shm`` and hidden names in ``/dev`` are places for some."""
    return _DEVICE.match(path) is not None


def place_of(path: str) -> str:
    """The kind of place of an absolute path (a directory ends with ``/``)."""
    return next((kind for kind, pattern in _KINDS if pattern.search(path)), OTHER)
