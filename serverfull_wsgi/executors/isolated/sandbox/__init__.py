"""Limits and isolation of an environment."""
