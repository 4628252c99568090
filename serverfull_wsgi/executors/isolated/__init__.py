"""Functions in execution environments of their own."""
