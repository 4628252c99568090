"""Execution environments: processes that each run one function, one invocation at a time, as Lambda does.

The life of an environment:

                acquire()          launch()            the runtime requests
                                                       its first event
    (limit) ──> reserved ───────> starting ──────────────────────────────> ready
                    │                │                                       │
                    │ launch         │ init timeout, exit,                   │ run()
                    │ raises         │ init error                            v
                    v                │                      ┌─────────── running
                (limit)              │   timeout, exit,     │                ^ │
                                     │   oversized response │        run()   │ │ response or error
                                     v                      │                │ v
                                   ended <──────────────────┴──────────────  idle
                                        idle too long, evicted, outdated, died

- Reserved: `pools.PoolManager` counts a place within the limit. Nothing exists yet.
- Starting: the fork server (`zygote`) starts a process for the function. The server creates a Runtime API
  (`runtime_api`), a control channel to the process's supervisor, and a pipe for its output. The start has the init
  timeout, 10 seconds as on AWS.
- Ready: the runtime has requested an event (``GET /runtime/invocation/next``), and the request waits for its answer.
- Running: the runtime has an event. The thread of the caller polls the environment until the runtime answers.
- Idle: the environment waits in the pool of its function and version. The next invocation gets the environment that
  was used last, as soon as its runtime has requested the next event. The request follows the answer within 0.2 ms as
  a rule. The caller has its answer before; the next caller waits for the request, up to 0.5 s.
- Ended: all processes are killed, and the control group is removed. Temporary files stay for the next environment of
  the same function, as on AWS, or are removed if there is none.

A function with SnapStart has one more kind of environment, its snapshot (`snapshots`). A snapshot runs the init phase
once and no invocation. Other environments of the function then start as forks of its process.

Failures:

- A start that exceeds the init timeout is killed, and repeated once in the invocation's own time, as on AWS.
- A start that fails is the outcome of its invocation. From the third failure in a row, the same outcome answers further
  invocations during a back-off of 0.25 to 10 seconds, without another start.
- A timeout or the end of the process is the outcome of its invocation, in the words of AWS's platform. The environment
  ends, and the next invocation starts another one.
- An error of the handler is an ordinary response: the environment stays.
- A process that ends after its answer fails no later invocation. If the process ends before its runtime has read the
  next event, another environment runs that event. A runtime that requests no event within the function's timeout after
  its answer is ended.
- A change of the function makes its environments outdated. Running invocations finish in them.
- At a shutdown, running invocations have the drain time. Then each raises `ServiceException`, and its environment ends.
- If the server dies, the control channels close, and each supervisor ends its environment.

Invariants:

- Each environment runs at most one invocation, and belongs to at most one thread or pool.
- An environment gets an event only while its runtime waits for one.
- Reserved, starting, ready, running and idle environments and snapshots together never exceed the limit, except for one
  that ends at this moment to make room.
- A snapshot is ended only while no environment that started from it is left.
- Each reservation becomes an environment or is given back. Each environment is released exactly once.
- A fork of the server process ends nothing of its parent's. It opens an executor of its own at its first invocation.

Modules: `executor` is the public class and the sequence of one invocation; `pools` has the limit and the idle
environments; `provisioning` starts environments before they are needed; `snap_start` decides whether an environment
starts from a snapshot; `execution` turns an invocation's events into its log and outcome; `environment` is one process
group with its descriptors, and `descriptors` counts how many fit; `output` reads its pipe; `sandbox` has its limits;
`runtimes` has the command for each AWS runtime; `portable` starts environments on systems other than Linux.
"""
