"""Fetchers: *which* function does a name stand for?

A `Fetcher` has one method, ``fetch(name, qualifier)``. It is called for every invocation, from several threads, and
returns a `Function` or raises `NotFoundError`:

    "hello", "prod" ──> Fetcher.fetch ──> Function(handler, name="hello", version="1", timeout=3, …)

| module | functions come from |
|---|---|
| static | a dictionary in Python code |
| imported | the setting SERVERFULL_FUNCTIONS |
| sam | a SAM or CloudFormation template |
| registry | a registry: deployed through the management API |
| chain | several other fetchers |
| fallback | a fetcher, and a second one for all other names |
| mocking, mock_values | another fetcher, with made-up results (mock mode) |

Some abilities are optional, each with a protocol in `protocols`:

- A `ListableFetcher` lists its functions. The server then checks them at its start, and the command line shows them.
- A `ReportingFetcher` also has functions that exist and cannot run, such as a template's function with a runtime that
  is not supported. ``fetch`` raises `ResourceConflictException` for them, ``problems()`` gives operators the reasons.

- A `RoutingFetcher` has aliases that choose between versions, for each request.

Invariants:

- ``functions()`` lists the functions that ``fetch`` returns, each version once, without aliases.
- These fetchers, except for the registry's, import and read everything when they are made, so that ``fetch`` is a
  dictionary look-up.
- A wrapper takes a fetcher and is one. It has the abilities of the fetcher in it (see `abilities`).
"""
