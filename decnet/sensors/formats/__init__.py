"""Logs of other honeypots and sensors: one reader, and a table (``*.yaml``) for each format."""
