"""Settings: the environment variables ``SERVERFULL_*``, read once and checked together.

One list holds every setting: the fields of `Settings`. A field carries its default, the function that reads its text
(`fields`), and its documentation. Other names that a variable may have are tables in `aliases`::

    os.environ ──> given? ──> MappingEnv ──> a reader per field ──> Settings
                     │            └── all bad values in one             ├── .region, …  checked values
                     │                ConfigurationError                └── .notices    warnings that `create_app` logs
                     └── no, or a plain text: the default, or the text

An empty variable counts as not set. Settings are read when an entry point starts, and never by an import.
``docs/settings.md`` is written by ``python -m serverfull_wsgi.settings.reference`` from the same list.
"""
