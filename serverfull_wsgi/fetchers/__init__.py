"""Answers to *which*: where functions come from."""
