"""Every lifter kind: importing this module registers them all."""

from __future__ import annotations

from decnet.ttp.lifters import behavioral, canary, credential, email, identity, intel, network

__all__ = ["behavioral", "canary", "credential", "email", "identity", "intel", "network"]
