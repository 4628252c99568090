"""Stands before a package of AWS's runtime client, so that the client cannot be imported."""

raise ImportError("hidden by a test")
