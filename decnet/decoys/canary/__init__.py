"""Canary tokens: what they are made of, and what it means when one comes back."""
