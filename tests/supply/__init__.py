"""What the program is made of and shipped as: a list of parts, known faults of parts, and the built package under test."""
