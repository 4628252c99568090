"""Benchmarks of the server; `README.md` lists the commands."""
