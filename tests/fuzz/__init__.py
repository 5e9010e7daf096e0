"""Bytes from anywhere into everything that reads bytes: no error but our own, and no time that grows faster than they."""
