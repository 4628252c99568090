"""The sandbox: limits and isolation of an environment.

Four layers surround a function's processes. The innermost is always there; machine and settings decide the others::

    namespaces            linux.py                    own process ids, users and IPC; own /proc; private /tmp
      root                root.py, root_template.py   a root directory of its own, with AWS's paths
        control groups    cgroups.py, cpu_weight.py   limits of memory and processes; share of a busy CPU
          process         linux.py, memory.py         resource limits; no capabilities; no new privileges

The zygote's program imports ``linux.py``, ``mounts.py``, ``root.py`` and ``root_template.py``; the other modules run in
the server. The server decides everything (which directories, which groups, which limits) and the environment's
supervisor carries it out.

Root: the part that all environments share is built once, as a template. Each environment attaches a clone of the
template, adds the mounts of its function, makes that its root directory and unmounts the machine's. The server's files
then have no path in the environment.

Memory: a control group's limit is the kernel's, for all processes together. Without control groups, RLIMIT_DATA bounds
each process; `memory.Memory` also adds up all of them at intervals, and kills the function process if the sum exceeds
the memory size. Where /tmp is in memory, a group pays for it too: the group's limit is higher by the size of /tmp, and
the checks compare the rest with the memory size.

CPU: Lambda gives CPU in proportion to memory. `cpu_weight.CpuWeight` sets a group's weight to its memory size. The
weight matters only while the CPU is busy; an idle machine is available to every environment.

Ends: a group or a namespace is killed as a whole, so that processes that fork faster than signals arrive end too. A
group can be removed only when it is empty; the spawner keeps those that are not, and tries again later. After a kill of
all processes, ``leftovers.py`` of the next start removes directories and groups.
"""
