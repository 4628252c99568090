"""Functions of a SAM or CloudFormation template, read once when the fetcher is made.

    template.yaml          CodeUri, Layers              SERVERFULL_TEMPLATE_PARAMETERS
         │                       │                                  │
         v                       v                                  v
    template ─────────────>    code                            parameters
    sections, Globals       directories                             │
    merged, line numbers         │                                  v
         │                       │                              intrinsics
         │                       v                         Ref, Fn::Sub, Fn::If …
         └────────────────> functions <── properties <──────────────┘
                                 │        one resource's
                                 v        properties, resolved
                              fetcher

1. `template` parses the file and merges the Globals into the functions. A file that is not a template, or declares no
   function, is a `ConfigurationError` with its line.
2. `functions` reads each function's properties through `properties`, which resolves intrinsic functions. Only values
   that parameters and the template itself decide can be resolved. A value that only AWS has is a `ValueAtAws`, for
   which `stand_ins` has the rules.
3. `code` finds the directories of code and layers, and unpacks zip archives.
4. `fetcher` serves the functions without problems, and answers 409 with the problems for the others.
5. `unserved` adds a warning to `notes` for each feature that has no effect here, and for each name that is not among
   the `property_names` of AWS.

Invariants:

- One function's problem never keeps another function from running.
- All problems of a function are reported together, each in one line: ``FILE:LINE: RESOURCE.PROPERTY: problem; cure``.
- Nothing is fetched from AWS. An unknown value is never replaced by a guess. A name that AWS would generate is the
  logical id, and any other value is a text that begins with ``unresolved:``. `SamFetcher.notes` lists both.
- No stand-in decides which code runs, is a secret, or is sent to AWS.
"""
