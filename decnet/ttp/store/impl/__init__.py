"""The rule stores there are."""
