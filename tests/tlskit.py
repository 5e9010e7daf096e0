"""A certificate for 127.0.0.1 and the authority that signed it, made anew: one that is shipped would run out."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def certificate(folder: Path) -> tuple[Path, Path, Path]:
    """Files of authority, certificate and key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ext").write_text("subjectAltName=IP:127.0.0.1\n", "ascii")
    made = ("-newkey", "rsa:2048", "-nodes")
    for arguments in (
        ("req", "-x509", *made, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca"),
        ("req", *made, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1"),
        ("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
         "-out", "server.pem", "-days", "2", "-extfile", "ext"),
    ):  # fmt: skip
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True, timeout=60)
    return folder / "ca.pem", folder / "server.pem", folder / "server.key"
