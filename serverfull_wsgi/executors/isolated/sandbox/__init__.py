"""The sandbox: limits and isolation of an environment.

Three layers surround a function's processes. The innermost is always there; machine and settings decide the others::

    namespaces            linux.py                    own process ids, users and IPC; own /proc; private /tmp
      control groups      cgroups.py, cpu_weight.py   limits of memory and processes; share of a busy CPU
        process           linux.py, memory.py         resource limits; no capabilities; no new privileges

``linux.py`` is the only module that the zygote's program imports; the others run in the server. The server decides
everything (which directory, which groups, which limits) and the environment's supervisor carries it out.

Memory: a control group's limit is the kernel's, for all processes together. Without control groups, RLIMIT_DATA bounds
each process; `memory.Memory` also adds up all of them at intervals, and kills the function process if the sum exceeds
the memory size.

CPU: Lambda gives CPU in proportion to memory. `cpu_weight.CpuWeight` sets a group's weight to its memory size. The
weight matters only while the CPU is busy; an idle machine is available to every environment.

Ends: a group or a namespace is killed as a whole, so that processes that fork faster than signals arrive end too. A
group can be removed only when it is empty; the spawner keeps those that are not, and tries again later. After a kill of
all processes, ``leftovers.py`` of the next start removes directories and groups.
"""
