"""The registry: functions that are deployed through the management API.

::

    REGISTRY/functions/NAME     one document per function: $LATEST, versions, aliases, tags, the last revisions
    REGISTRY/code/SHA256        packages: zip archives as they were uploaded
    REGISTRY/secrets/NAME       random keys of this registry, which all its processes share
    REGISTRY/lock               held while a document is written
    REGISTRY/turn               held by a writer that has lost a race, until it has written

All of these are objects of a store (`objects`), which has five operations: get, put if absent, put if unchanged, list
with etags, and delete. A store that is not a directory offers the same operations.

A change takes these steps. A process that dies between two of them leaves the old state or the new one::

    1. check the package, write it, and unpack it to the machine's cache      `packages`
    2. read the document, and compute the new one by a pure function          `functions`, `versions`, `aliases`, …
    3. write the document if it is still the one that was read, otherwise     `function_store`
       go on with step 2

- A package is named by its SHA-256 and never changes. It is on the disk before a document refers to it.
- A document has the final state of its change. So a function is never Pending or InProgress in the registry, although
  the answers of AWS's operations show these states. See `views`.
- A successful return from a change means that the package and the document are on the disk.
- There is no other lock, and no database. A reader waits for nothing.
"""
