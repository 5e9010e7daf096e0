"""Sensors: honeypot logs become events on the bus."""
