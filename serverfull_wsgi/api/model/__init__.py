"""AWS Lambda's API as pure functions: from a request to parameters, and from a result to a response.

AWS describes the API in a service model, from which boto3 is made too. ``lambda.json`` is this model without its
prose. ``tools/build_model.py`` generates the file from botocore, and botocore is not needed at run time. A request
takes these steps::

    step                  from                            to                       may raise
    service.load          lambda.json                     operations, shapes
    routing.match         method, path, query             operation, labels
    parsing.parse         labels, query, headers, body    parameters               SerializationException,
                                                                                   InvalidRequestContentException
    validation.validate   parameters                                               ValidationException
    (the operation)       parameters                      result                   exceptions.exception(code)
    pagination.page       all items of a list             result with one page     InvalidParameterValueException
    responses.respond     result                          status, headers, body

- Parameters and results are dictionaries with AWS's member names, as boto3 takes and returns them: blobs are bytes,
  timestamps are aware datetimes, absent members are absent.
- No function here opens a socket or changes anything. `service.load` reads ``lambda.json`` once in a process.
- `recorded` has AWS's behaviour where recordings of AWS differ from the model, or add to it. A rule that needs more
  than the shape of one request (two qualifiers that differ, a function that does not exist) belongs to the operation.

Invoke is served without this package: its path is the hot path.
"""
