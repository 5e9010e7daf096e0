"""Where an address is, on which lists it stands, and what services say of it.

Places and lists are from operators' own files (:mod:`decnet.intel.library`) and the table of the registries' allocations
that a package brings along; that opens no connection. Services are asked only where the operator turned them on
(:mod:`decnet.intel.services`), by the worker (:mod:`decnet.intel.worker`) or for a person (:mod:`decnet.intel.asking`).
What was said of an attacker, by whomever, is read by :mod:`decnet.events.intel`.
"""
