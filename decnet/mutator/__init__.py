"""The mutator: a fleet of deckies, and the rotation of what they run."""
