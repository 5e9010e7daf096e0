"""The mail decoy: takes every message and judges it by its bytes. There is no client code: nothing is ever sent."""
