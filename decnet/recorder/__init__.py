"""The recorder: attacker and credential events become rows."""
