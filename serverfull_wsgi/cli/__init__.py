"""The command ``serverfull``: one function per command, registered with click.

========================  ==============================================================================
``serve``                 gunicorn, with `serverfull_wsgi.servers.gunicorn`
``check``, ``functions``  read the functions and print them, or print each problem
``invoke``                one invocation, through the same dispatcher as HTTP
``worker``, ``events``    events in SQLite: run them; list, show, redrive or purge them
``lambda``                one function under AWS's runtime client, with `serverfull_wsgi.servers.native`
========================  ==============================================================================

Results go to standard output, everything else to standard error. An error that the user can cure is one message
without a traceback, and exit status 1. All commands read the environment variables ``SERVERFULL_*``; ``--app`` names an
application that is built in code.
"""
