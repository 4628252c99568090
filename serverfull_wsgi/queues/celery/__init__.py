"""Durable events for many machines: Celery carries them through RabbitMQ or Redis to its workers.

A server publishes an event and sends 202. A worker (``celery -A serverfull_wsgi.celery worker``) runs the event once
and publishes the message that follows::

    server                         broker                      worker
    ------                         ------                      ------
    put(event) --EventMessage----> queue ----EventMessage----> run the event once
        <---------confirmed-------                               retry: publish EventMessage, due later
    202                                                          end:   publish a RecordMessage for each destination
                                                               acknowledge

                                   queue ----RecordMessage---> deliver the record
                                                                 error: publish RecordMessage, due later
                                                               acknowledge

Invariants:

1. `CeleryQueue.put` returns only after the broker has confirmed the message.
2. A worker acknowledges a message only after the broker has confirmed every message that follows it. A worker that is
   killed therefore repeats a message; the message is not lost.
3. A message has all that its next run needs: payload, configuration, counts, and times of the wall clock. A worker
   needs no database. Machines need clocks that agree to about a second.
4. A message of another version, or of another program, returns to the queue. Celery would drop it.

The two brokers differ:

====================  ==========================================  ===============================================
subject               RabbitMQ                                    Redis
====================  ==========================================  ===============================================
confirmation          after a majority of a quorum queue has      the reply to the push; on disk as Redis's
                      the message on disk                         ``appendfsync`` says
delayed message       Celery's native delayed delivery: quorum    a worker holds the message, and publishes it
                      queues, in whole seconds                    again every third of a lease
worker is killed      delivered again at once                     delivered again when the lease ends; the worker
                                                                  renews the lease while the event runs
count of lost leases  RabbitMQ's header ``x-delivery-count``      counted in the message: a repeated delivery is
                                                                  published again with one more, and not run
known loss            none                                        kombu takes a message off the queue and only then
                                                                  notes its lease; a kill in between loses it
====================  ==========================================  ===============================================

`queue` has `CeleryQueue`; `worker` handles messages; `messages` defines their JSON; `broker` has the Celery
applications, the publisher and the leases on Redis.
"""

from serverfull_wsgi.queues.celery.queue import CeleryQueue

__all__ = ["CeleryQueue"]
