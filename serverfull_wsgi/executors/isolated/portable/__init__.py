"""Environments on systems other than Linux, such as macOS: processes that are executed, and not forked.

::

    server process     spawner.py
      | exec
    supervisor         supervisor.py; executes, awaits and ends the command of one environment
      | exec
    function process   the interpreter with a runtime client, Node.js, or a custom runtime

A server has no zygote here. It starts one supervisor for each environment, with the start request on its standard
input. The supervisor's messages are those of a zygote's supervisor, but one on each line of a stream: these systems
have no socket pairs that keep the borders of messages::

    server                        supervisor                    function process
      | ------ StartRequest ------> | exec ---------------------> |
      | <----- SupervisorStarted -- |                             |
      | <----- FunctionStarted ---- |                             |
      | ------ END ---------------> | SIGKILL to its group -----> |
      | <----- Ended -------------- |

What Linux adds is missing: namespaces, a root directory, memory limits, and the check which process connects to a
Runtime API. A process of a function that begins a session of its own outlives its environment.
"""
