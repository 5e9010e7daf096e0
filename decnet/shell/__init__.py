"""Command lines: split into commands, looked through, decoded, and joined over the lines of a session."""
