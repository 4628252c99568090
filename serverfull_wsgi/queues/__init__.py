"""Answers to *when*: what keeps an event until it runs."""
