"""Every module with lifter predicates, imported once so that their kinds are known to the loader."""
