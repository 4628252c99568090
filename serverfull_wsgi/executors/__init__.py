"""Executors: they answer *how* a function runs.

    ChoosingExecutor ──┬──> InProcessExecutor    in the server's process, in the thread of the request
                       └──> ProcessExecutor      in an execution environment: a process of the function's own

An executor takes a `Function` and an `Invocation`, and returns an `Outcome`. A failure of the function is an outcome,
too. `execute` raises a `ServiceError` only if the function did not run or its result is unknown: the limit is reached,
the server stops, or the runtime does not exist here.

- `routing` chooses the executor: `isolated` for code with a directory of its own, in-process for callables.
- `function_errors` and `marshalling` are shared: errors and JSON, byte for byte as AWS writes them. The tests run AWS's
  own Python runtime client as the reference for both executors.
- `inprocess` and `isolated` never import each other.
"""
