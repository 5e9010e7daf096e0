"""Made-up operators with known truth: single ones of many kinds, pairs, and a mixer of real sessions."""
