"""The Lambda Runtime API of one environment: the HTTP server that its runtime fetches events from.

::

    runtime --- TCP, 127.0.0.1:port --> listener.py   accepts connections of the environment's own processes
                                          | peers.py    finds the process behind a connection
                                        http11.py     parses requests, sends responses, never blocks
                                          |
                                        server.py     GET next, POST response, POST error, POST init/error
                                          |
    environment.py <-- RuntimeApi: is_waiting, offer, answer, withdraw

The API has no thread. The thread that runs an invocation polls the descriptors and passes each that is ready to
`RuntimeApi.handle`. Between invocations nothing is read, except when the pool checks that the environment is alive.

States, with the requests of the runtime (upper case) and the calls of the environment (lower case)::

    starting --NEXT--> waiting --offer--> running --RESPONSE, ERROR--> answered --withdraw--> idle
       |                  ^                  |                                                  |
       | INIT/ERROR       |                  +---withdraw (timeout, exit)-----------------------+
       v                  +--------------------------NEXT---------------------------------------+
    failed

Every other request gets an error and changes nothing: 400 for a response to another invocation than the running one,
403 for NEXT while an invocation is running and for INIT/ERROR after the start, 404 for the rest. A runtime that sends
its response and NEXT in one go, before withdraw, is waiting again at once.

A function shares its process with the runtime, so a client can be hostile. The number of connections, the bytes that
they hold in memory, and the length of heads and bodies are limited. A client that does not read its responses is not
read from. `gil.yield_gil` keeps a flood of small pieces from starving the server's other threads.
"""
