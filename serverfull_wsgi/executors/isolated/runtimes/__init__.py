"""Runtimes: the command, variables and files that start a function's process, for each runtime of AWS's.

::

    Function(runtime, handler, code, layers, environment)
        | launch_spec()                                launch.py: pure, but for looking up programs and directories
    LaunchSpec(python, argv, handler, root, path, variables)
        | Spawner.spawn()
    function process

    runtime                        process
    python3.x, or none given       a fork of the zygote of that interpreter runs a client; argv is empty
    nodejsN.x                      node with node_bootstrap.mjs, a client of the Runtime API
    provided, provided.al2[023]    the executable `bootstrap` from the code directory, or else from a layer
    go1.x                          the executable that the Handler string names

The client of Python is AWS's, awslambdaric, or the package in `fallback_client` where AWS's cannot be imported:
`python_client` chooses. `python_transport` gives either the frames of the package `runtime_api`.

The Node.js runtime is in ten modules. `node_bootstrap` has the start and the loop, `node_handler` finds the handler,
`node_api` is the client of the Runtime API, over `node_frames` or `node_http`, which block by `node_retry`. `node_log`
has the console, `node_errors` the form of errors, `node_awslambda` the global `awslambda`, and `node_path` lets
`import` search the folders of NODE_PATH. Tests compare the runtime with AWS's own client.

Each process is a client of its environment's Runtime API, at the address in AWS_LAMBDA_RUNTIME_API. Where a Python
interpreter cannot fork, the executor replaces the empty argv by ``python -m awslambdaric HANDLER``.
"""
