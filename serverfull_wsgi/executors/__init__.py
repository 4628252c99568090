"""Answers to *how*: what runs a function."""
