"""decnet: the engine behind decnet-tui.

Honeypot logs become events on a bus, events become ATT&CK tags, profiles and alerts. Nothing
in this package imports a terminal library; the console lives in :mod:`decnet_tui`.
"""

__version__ = "0.1.0"
