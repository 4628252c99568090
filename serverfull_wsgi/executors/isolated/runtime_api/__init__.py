"""The Lambda Runtime API of one environment: the server that its runtime fetches events from, by HTTP or by frames.

::

    runtime --- TCP, 127.0.0.1:port --> listener.py   accepts connections of the environment's own processes
       |                                  | peers.py    finds the process behind a connection
       |                                http11.py     parses requests, sends responses, never blocks
       |                                  |
       +------- socket pair ----------> frames.py     parses and sends frames, never blocks
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

Frames are the same messages for runtimes of this package, with fewer system calls: no threads, no heads to parse, and
no response to an accepted answer. The runtime has one end of a socket pair, the descriptor `protocol.FRAMES_FD`. If a
command is executed, the variable ``_SERVERFULL_FRAMES`` has ``DESCRIPTOR INODE ADDRESS``. A wrapper script may close
the descriptor, or put a proxy between. The runtime therefore uses the descriptor only if INODE is still its inode, and
ADDRESS still the value of AWS_LAMBDA_RUNTIME_API. Otherwise it uses HTTP. The runtime removes the variable, and lets
no program that it starts inherit the descriptor. The kinds of frames::

    from the runtime   N  NEXT        no head, no body
                       R  RESPONSE    REQUEST_ID <LF> CONTENT_TYPE, the payload
                       X  ERROR       REQUEST_ID <LF> CONTENT_TYPE, the error object
                       I  INIT_ERROR  <LF> CONTENT_TYPE, the error object
    to the runtime     E  EVENT       {"Lambda-Runtime-Aws-Request-Id", …}: HTTP's headers; the payload
                       F  REFUSED     {"status", "errorType", "errorMessage"}

An accepted RESPONSE, ERROR or INIT_ERROR has no answer. After REFUSED the server closes its end: the runtime must end,
as AWS's clients do. A runtime sends NEXT and then waits for EVENT or REFUSED, so that no other frame can arrive. A
response over the limit is not read. Bytes that are no frame, and a second NEXT, end the environment.

The listener answers beside the frames, for extensions, tools, and the reports of failed starts. From the first NEXT
frame on, NEXT over HTTP is refused, so that no other client takes an event. If all processes close the descriptor, the
runtime can go on over HTTP: the Python client does so in a fork of its process, and after the function has closed the
descriptor. The Node.js client ends its process then.

A function shares its process with the runtime, so a client can be hostile. The number of connections, the bytes that
they hold in memory, and the length of heads and bodies are limited. A client that does not read its responses is not
read from. `gil.yield_gil` keeps a flood of small pieces from starving the server's other threads.
"""
