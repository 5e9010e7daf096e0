"""Where an address is and on which lists it stands, from files on this host.

Nothing here opens a connection: what answers are operators' own files (:mod:`decnet.intel.library`) and the table of the
registries' allocations that a package brings along. What others are asked is left to whoever has leave to ask them; what
they said is read by :mod:`decnet.events.intel`.
"""
