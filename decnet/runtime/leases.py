"""Leases: jobs that must run on one engine at a time hold a row in the database."""

from __future__ import annotations

import os
import socket
from uuid import uuid4

OWNER = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
"""Who this process is in lease rows."""
