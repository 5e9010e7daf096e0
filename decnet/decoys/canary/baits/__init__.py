"""What lies on a decoy: files made from a token's slug, the same bytes each time they are made, none that says what it is."""
