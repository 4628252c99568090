"""The fork server that environments come from."""
