"""Settings: the environment variables ``SERVERFULL_*``, read once and checked together.

One list holds every setting: the fields of `Settings`. A field carries its default, the function that reads its text
(`fields`), and its documentation. Other names that a variable may have are tables in `aliases`::

    os.environ ──> MappingEnv ──> a reader per field ──> Settings
                       │                                    ├── .region, …  checked values
                       │                                    └── .notices    warnings that `create_app` logs
                       └── all bad values in one ConfigurationError

An empty variable counts as not set. Settings are read when an entry point starts, and never by an import.
``docs/settings.md`` is written by ``python -m serverfull_wsgi.settings.reference`` from the same list.
"""
