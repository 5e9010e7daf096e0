"""What attackers did: attackers and identities, sessions and commands, facts over them, and their replay."""
