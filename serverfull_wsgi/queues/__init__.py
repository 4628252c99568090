"""Event queues: they store asynchronous invocations and run them later.

Every queue promises these:

* `EventQueue.put` returns after the event is stored. A server sends the response 202 only then. If the event cannot be
  stored, `put` raises, and the caller gets an error response.
* A stored event runs through the same dispatcher as a synchronous call, with the request id that the caller got.
* `EventQueue.start` opens files or connections and is called once in each process. `EventQueue.close` is final: the
  queue then refuses events, and running events get some time to finish.

The queues differ in the meaning of "stored" and in the end of an event:

=========  ====================  =======================  ============================================
queue      stored in             retries, destinations    if the process is killed
=========  ====================  =======================  ============================================
`memory`   this process          none                     its events are lost
`sqlite`   a file                by AWS's rules           its running events run again
`celery`   RabbitMQ or Redis     by AWS's rules           its running events run again, on any machine
=========  ====================  =======================  ============================================

An event that runs again may have had effects already. So handlers have to be idempotent, as on AWS. The retry rules are
in `serverfull_wsgi.events`.
"""
