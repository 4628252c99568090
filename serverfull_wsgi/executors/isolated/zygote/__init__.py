"""The zygote: a fork server that environments start from.

A fork of a process that has imported AWS's runtime client is ready in about 10 ms; a new interpreter takes about 70 ms.
The server has many threads and holds secrets, so the server cannot be forked for a function. Each server process
therefore starts one zygote for each interpreter, by exec and with few environment variables.

Processes::

    server process     client.py, spawner.py, control_channel.py
      | exec
    zygote             program/fork_server.py; one thread, so that forks of it are sound
      | fork
    supervisor         program/supervisor.py; starts, limits, awaits and ends the environment's processes
      | fork
    function process   program/child.py; execs a command, or runs AWS's runtime client in the forked interpreter

    mount server       program/mount_server.py; a child of the zygote, if environments have a root of their own

With namespaces the supervisor is the first process of its process namespace. Without them the supervisor is a
subreaper: descendants that lose their parent become its children. Both ways no process leaves an environment.

Messages (protocol.py) travel over SOCK_SEQPACKET sockets. The control socket (=) joins a server process and its zygote.
The control channel (-) joins the server process and one environment; its other end goes with the start request::

    server                        zygote          supervisor       function process
      | <===== Hello ============== |
      | ====== SpareRequest ======> | fork ---------> | fork ---------> | waits
      | ====== StartRequest ======> | StartRequest -> | StartRequest -> |
      | <----- SupervisorStarted -- |                 |                 |
      | <----- FunctionStarted ---------------------------------------- |
      | <----- ExecFailed, if the command cannot be run --------------- |
      |                             |                 |                 |
      | ------ END ---------------------------------> | SIGKILL ------> |
      | <----- Ended -------------------------------- |

Before a fork the zygote requests a clone of the root template from its mount server, and before it passes a start
request on, the tree for /tmp. A start request has three descriptors: the environment's end of the control channel, a
pipe for its output, and memory in which a Python process counts the events that it has received. If an environment
cannot be made, Failed arrives in the place of the next message.

A spare is an environment that waits for its request. A process can take 10 ms and more to enter its control groups;
a spare has done so beforehand. A zygote has at most one spare, and forks one after 20 ms without a message. A start
request for another place (control groups and namespaces) ends the spare and forks a new environment.

A snapshot (program/snapshot.py) is a function process that forks environments, as a zygote does, after its init phase.
Its start request has a fourth descriptor, the socket for the requests of its environments. Their supervisors are forks
of the snapshot, in namespaces below its own. Since a snapshot sees no control groups, the server sends it descriptors
of their files::

    server                        snapshot
      | <== SnapshotTaken ======== |   or SnapshotRefused, with the reasons
      | ====== SpareRequest =====> |   further as above, except that the supervisor itself sends SupervisorStarted
      | ====== StartRequest =====> |

Ends:

- The function process ends. The supervisor kills all other processes of the environment, sends Ended and exits.
- The server sends END, closes its end of the channel, or dies. The supervisor kills the function process; the rest is
  as above.
- The supervisor is killed, perhaps by the function. The kernel ends its namespace. Without namespaces the zygote
  inherits the processes and kills them. The server reads the end of the channel, which counts as SIGKILL.
- A snapshot is killed. Its supervisor sends Ended. Environments that have started from the snapshot go on until the
  server ends the supervisor.
- The zygote is killed. Its spare and its mount server end, with the files in /tmp; running environments go on. The
  server starts another zygote for the next environment. If the mount server is killed, its zygote ends in this way.
- The server closes the control socket, or dies. The zygote waits for all supervisors, kills those that take too long,
  and removes the temporary directories and control groups of the server.

Invariants: a function process is in its control groups before any code of the function runs in it. A fork has nothing
of the server's and nothing of another function's: neither memory, descriptors, variables nor signal handlers.

The program and the modules that it imports (of the folders sandbox and runtimes, and protocol.py) also run under other
interpreters. They need the standard library of Python 3.10 or newer, and import each other by relative names.
"""
