"""The fallback client: a runtime client for Python functions where AWS's, awslambdaric, cannot be imported.

This folder goes on the module search path in the place of AWS's distribution, so that its one package has the name
``awslambdaric``. The modules and the names in them are the ones that handlers import and that tools such as Sentry
replace. The code is serverfull_wsgi's own, and imports the standard library only::

    __main__                    the command ``python -m awslambdaric HANDLER``
      |
    bootstrap                   import the handler; one event after another; errors and logs
      |-- lambda_context, lambda_runtime_exception, lambda_runtime_log_utils, lambda_runtime_marshaller
      |
    lambda_runtime_client       the operations of the Runtime API
      |
    runtime_client              HTTP over one connection

``runtimes/python_client.py`` chooses between the two clients. The tests compare both on the same handlers and events.
A function sees two differences: an error at the start is logged without AWS's advice about versions of runtimes, and a
handler of a signal runs while the client waits for an event.
"""
