"""Runtimes: how a function's process is launched."""
