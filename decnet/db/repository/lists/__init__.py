"""Rows for people: what the command line and the console list, search, count and sum up over all subjects."""
