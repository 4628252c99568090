"""Functions behind plain HTTP, as function URLs, API Gateway and load balancers serve them on AWS.

A client sends an ordinary HTTP request. The function receives an event that describes the request, and returns a result
that describes the answer::

    HTTP request ──▶ route ──▶ event ──▶ Dispatcher.invoke ──▶ Outcome ──▶ HTTP answer
                              formats                                   formats

There are five kinds of such events and results: function URLs, REST APIs (payload 1.0), HTTP APIs with payload 1.0 or
2.0, and target groups of load balancers. `formats` has one module for each kind. Its functions are pure: clock,
randomness, WSGI and the route table stay outside. So far the package has the formats only. No route is served yet.
"""
