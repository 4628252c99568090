"""Functions behind plain HTTP, as function URLs, API Gateway and load balancers serve them on AWS.

A client sends an ordinary HTTP request. The function receives an event that describes the request, and returns a result
that describes the answer::

    WSGI environ ──▶ location ──▶ endpoint ──▶ event ──▶ Dispatcher ──▶ Outcome ──▶ answer ──▶ WSGI response
        front        locations   route_table  formats                              formats         front

There are five kinds of such events and results: function URLs, REST APIs (payload 1.0), HTTP APIs with payload 1.0 or
2.0, and target groups of load balancers. `formats` has one module for each kind. Its functions are pure: clock,
randomness, WSGI and the route table stay outside.

`sites` describes what is served: a site is an API, a function URL or a load balancer, with its endpoints. `sources`
makes sites of templates and settings. `gateway` has the steps of one request. A request is assigned to its site before
any authentication, on its raw path and Host; `domains` has the custom domains.
"""
