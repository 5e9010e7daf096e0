"""Sigma rules → rules of ours: what a typed command and a web request can say is carried over, the rest is told.

:mod:`reading` takes files apart, :mod:`library` has pySigma read their documents, :mod:`values` carries single values over,
:mod:`places` says what Sigma's fields are here, :mod:`carrying` makes conditions, :mod:`techniques` tags, :mod:`correlating`
windows and sequences, :mod:`examples` an example of each rule, :mod:`importing` all of it for a directory. Nothing here writes
files. pySigma comes with the extra ``sigma``.
"""
