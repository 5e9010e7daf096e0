"""What tagging reads and writes: tags, rules and their states, hits of window rules, bodies of e-mail."""
