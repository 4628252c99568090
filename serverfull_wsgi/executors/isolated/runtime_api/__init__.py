"""The Lambda Runtime API of an environment."""
