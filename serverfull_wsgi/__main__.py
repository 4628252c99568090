"""``python -m serverfull_wsgi``: the command ``serverfull``."""

from serverfull_wsgi.cli.main import main

if __name__ == "__main__":
    main(prog_name="serverfull")
