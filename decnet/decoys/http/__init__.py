"""Canary tokens over HTTP: a pure core (request → answer and hit), and a thin listener."""
