"""decnet_tui: the Textual console and the command line over the :mod:`decnet` engine."""
