"""What this host does: figures of the engine and the commands, each beside the floor of the same run."""
