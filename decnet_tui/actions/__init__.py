"""What changes something: plan, confirm, send, verify, journal; forms and write mode."""
