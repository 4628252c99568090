"""AWS Signature Version 4, the scheme by which AWS's clients sign requests.

One request, in the order of the checks::

    environ ──▶ parsing        the signature's fields: header Authorization, or query (presigned)
                   │               none: MissingAuthenticationTokenException; malformed: IncompleteSignatureException
                   ▼
               signature       date, region, service, signed headers: the same errors for all keys
                   ▼
               verifier        the path as sent, the body within its limit, its SHA-256
                   ▼
               signature       the key's secret signs the canonical request: equal in constant time
                   │               unknown key and wrong signature: InvalidSignatureException, in the same time
                   ▼
               principal       the permission of the key; its function, if the replay guard is on
                   ▼
               replay_guard    if it is on: this signature was not used before
                   ▼
    environ["serverfull.principal"] = Principal, and the application is called

Invariants:

- The fields are not trusted before `signature.matches` is true.
- The server's path and the signed path mean the same. `%2F` and `/` are different paths.
- A refused body is read and dropped, so that the client can read the response.
- The log has the exact reason of a refusal, and the response does not.

`verifier` has these steps, and `middleware` adds the permission and the response. `errors` has AWS's error responses.
Only `verifier` and `middleware` read a clock or an environ; the other modules are pure.
"""
