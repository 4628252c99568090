"""The command ``serverfull``."""
