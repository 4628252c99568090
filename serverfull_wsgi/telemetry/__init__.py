"""Log lines, log tails and metrics of invocations.

An `InvocationScope` has the facts about a running invocation. The executor in the server's process enters one for each
invocation (`stdio.RunningScope`), which makes it current in its thread, task or greenlet. Output of a handler finds its
invocation by this scope:

    handler ── print ──────────────────> stdio.RoutedStream ──┬─> the server's output
            ── logging ────────────────> TailHandler ─────────┴─> Tail: the last 4 KB, for X-Amz-Log-Result
            ── logger_from_context() ──> the server's log, with request id and function name
            ── stat_from_context() ────> statsd, with the function's name

    server  ── log_report ─────────────> the server's log: one REPORT line an invocation
            ── Metrics ────────────────> statsd: one datagram an invocation

| module | subject |
|---|---|
| metrics | statsd clients, and the metrics of AWS/Lambda |
| tail | the buffer for the end of a log |
| scope | the current invocation, its logger and its metrics |
| bounded_output | writes that do not wait for the reader of a full pipe |
| stdio | standard output and error of concurrent invocations |
| tail_handler | log records of handlers |
| logs | the server's own log |
| report | the REPORT line of an invocation |

Each module imports modules above it in this table only. An isolated environment has its own standard output; the
executor fills its `Tail` and logs its REPORT line with the same functions.

Invariants:

- Neither a log line nor a metric can fail an invocation or make it wait for a collector: errors of output are ignored.
- A handler cannot redirect the server's own log, nor the output of another invocation.
- The path of each invocation makes no log record, and has no lock but the output's, unless a handler replaced a stream
  or the operator added log handlers.
- A server does not wait for a reader of its output for more than one second: then lines are dropped and counted.
"""
