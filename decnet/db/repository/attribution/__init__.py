"""What attribution reads and writes: states of primitives, features of sessions, verdicts, alerts."""
