"""The program that execution environments are forked from: ``python __main__.py FD MODE [MODULE…]``.

It has one thread, so that a fork of it is sound, and was exec'ed with an environment of its own, so that it holds
nothing of the server's. An environment is forked for a *place*, that is, its namespaces and control groups:

- the *init*, which waits: it reports how the function's process ended, and ends what that leaves behind. When the
  server says so, or its end of the line is closed because the server is gone, it ends everything at once;
- its child, the function's process: it execs its job's command, or, in a zygote of MODE ``fork``, which has imported
  AWS's runtime client, becomes the runtime.

Both wait for a job then. On the socket FD come jobs, each with two descriptors: the environment's line to the server,
and what its output goes to; and ``{"spare": place}``, for which one environment is forked beforehand. A spare has been
put into its control groups, which takes the kernel 10 ms and more, before anybody waits for it.

On the line go JSON objects: ``{"init": pid}``, ``{"started": true}`` with the sender's credentials,
``{"ended": wait status, "peak": KiB}``, ``{"failed": reason}``, ``{"exec": errno}``.

All in here needs nothing but the standard library of Python 3.10 or newer, and imports by relative names, since it
also runs under other interpreters than the server's.
"""

import os
from typing import Any

Job = dict[str, Any]
Place = dict[str, Any]  # of a job its ``cgroups`` and ``namespaces``
SPARE = "serverfull wait"  # the name of processes that wait for a job
MESSAGE = 1 << 20  # bytes; a job is the function's variables and little more
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "program", "__main__.py")
