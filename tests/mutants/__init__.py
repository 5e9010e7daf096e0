"""Faults put into guards on purpose, each with the tests that have to notice it (`make mutants`)."""
