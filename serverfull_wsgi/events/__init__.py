"""Rules of asynchronous invocations, for every queue."""
