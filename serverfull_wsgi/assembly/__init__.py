"""Assembly of an application from settings: the one folder that names concrete classes.

::

    Settings ──> telemetry ──> fetchers · registries ────────┐
                           ├─> executors ────────────────────┼──> application
                           ├─> queues ───────────────────────┤
                           ├─> sites ────────────────────────┤
                           └─> authentication ───────────────┘

Each module makes one part. A module of an optional part imports the part in the branch that chose it, so that a server
without it starts sooner, and `extras` turns a missing dependency into an error that names its cure.
"""
