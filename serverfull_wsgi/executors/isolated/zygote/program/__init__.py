"""The fork server's own program."""
