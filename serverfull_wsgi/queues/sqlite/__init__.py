"""Durable events in one SQLite file."""
