"""Lifters: taggers whose predicates are code, with knobs set by rules."""
