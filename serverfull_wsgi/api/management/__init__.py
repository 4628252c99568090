"""The management operations: create, read, update and delete functions, versions, aliases, tags and concurrency.

A call passes these steps, of which `api.operations` does all but the third::

    HTTP request ──▶ operation, caller, parameters ──▶ endpoint ──▶ result ──▶ HTTP response
                     api.model, auth                   here          api.model

An endpoint is a function ``(management, call) -> result`` with AWS's member names on both sides. `endpoints` has the
table of all operations: each of AWS's operations is implemented, stored only, or refused, and the documentation's table
is made from it.

Two kinds of functions exist::

    configured    in settings, a template or code      any fetcher     read here, never changed
    deployed      in the registry                       `Registry`    read and changed here

A configured function hides a deployed one of the same name.

The rules of changes belong to the registry. Here are the rules of requests: permission, region and account, qualifiers,
pages, and members that only some callers may see.
"""
