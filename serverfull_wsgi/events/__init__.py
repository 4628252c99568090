"""Rules of asynchronous invocations (invocation type ``Event``), shared by every queue that retries.

An event is one asynchronous invocation. A queue keeps it, and these rules decide when it runs and how it ends::

    accepted --> queued --> running --> succeeded --> record to on_success
                   ^           |
                   |           +------> failed -----> record to on_failure, event to dead_letter
                   |           |
                   +-----------+
              retry after a delay

A *queued* event waits until it is due. A *running* event belongs to one worker, which holds a lease on it. If the
worker dies, the lease is lost and the event is queued again. *Succeeded* and *failed* are final. A record of the end is
then delivered to each configured destination. Delivery is retried until the destination accepts the record.

How a run ends decides the next step:

============================================  ===========  ========================================================
end of a run                                  counts as    next step
============================================  ===========  ========================================================
a result                                      attempt      final: ``Success``
function error, timeout                       attempt      retry after 60 s, then 120 s; then final:
                                                           ``RetriesExhausted``
no capacity, no such function, server fault   throttle     retry after 1, 2, 4 ... 300 s
reserved concurrency of 0                     nothing      final: ``ZeroReservedConcurrency``
death of the worker process                   lost lease   retry; the fifth is final: ``RetriesExhausted``
============================================  ===========  ========================================================

Two conditions end an event before a run: ``EventAgeExceeded``, if it is older than its maximum age, and
``RecursiveInvocationDetected``, if its chain of events has called the function 16 times already. A retry that would be
due after the maximum age is not scheduled; the event ends at once.

AWS's figures (2 retries, the delays, 6 hours) are those of "How Lambda handles errors and retries with asynchronous
invocation", https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html. The 16 calls are from
"Lambda recursive loop detection", https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html. AWS publishes
nothing about workers that die; the limit of five lost leases is this project's own.

`retry_policy`, `lineage` and `records` are pure functions: they need no clock, socket or database. `runner` runs one
event by the rules. `destinations` delivers records. `SqliteQueue` and `CeleryQueue` store events between these steps.
"""
