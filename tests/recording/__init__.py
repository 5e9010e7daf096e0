"""Real recordings for tests and for the demo: a real Cowrie, real clients, scripted attackers.

Nothing in here is imported by the product. ``cowrie_env`` runs the honeypot, ``bait_server`` serves harmless
downloads, ``clients`` and ``typist`` are the hands, ``attackers`` holds the characters, ``ttylog`` reads and
writes terminal recordings, ``relocate`` moves a recording to other dates and addresses; ``record_versions``
and ``record_demo`` put the parts together.
"""
