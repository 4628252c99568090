"""The zygote's program, run as ``python __main__.py FD [MODULE...]``: one file for each process that it becomes.

::

    __main__.py        load executors/isolated as the package _serverfull
      |
      +-- fork         mount_server.py, if environments have a root of their own
      |
    preload.py         import AWS's runtime client and MODULEs, before the standard modules that the program needs
      |
    probe.py           test which isolation works
      |
    fork_server.py     wait for requests on the socket FD; keep a spare; reap; remove files at the end
      | fork
    supervisor.py      with namespaces: unshare, fork again; then fork the function process and limit it
      | fork
    child.py           wait for the request; set descriptors, limits and capabilities
      |
      +-- argv         exec the command
      +-- no argv      return to fork_server.main, so that python_runtime.py runs with a short stack
                         |
                       snapshot.py   with SnapStart, after the init phase: a fork server again

`fork_server.main` therefore returns in two kinds of process: in the zygote after the server has gone, and in a function
process that runs Python. `os._exit` ends all others. The package docstring of ``zygote`` has the messages.
"""
