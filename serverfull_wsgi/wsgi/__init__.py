"""Requests and responses, shared by all WSGI packages."""
