"""Rule stores: where definitions and operator states come from."""
