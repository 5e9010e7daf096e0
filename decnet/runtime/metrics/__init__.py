"""Metrics of an engine: what they are called, and how others get them. Off by default."""
