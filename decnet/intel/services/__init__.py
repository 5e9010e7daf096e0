"""Services that are asked about attackers, each only where the operator turned it on.

What is sent to each and what its answers say is pure (:mod:`.catalogue` has all of them), when one may be asked is
decided by :mod:`.governor`, the one place that opens a connection is :mod:`.client`, and :mod:`.desk` puts them
together. What leaves the host stands in the settings' docstrings (:mod:`decnet.service_settings`).
"""
