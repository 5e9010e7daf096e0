"""Canary tokens over DNS: a pure core (packet → answer and name), and a thin listener."""
