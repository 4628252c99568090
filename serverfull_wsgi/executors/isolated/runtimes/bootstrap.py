"""The program of a Python environment that is not forked, at the place of ``/var/runtime/bootstrap.py`` on AWS.

A wrapper script (AWS_LAMBDA_EXEC_WRAPPER) gets its path as the last argument, and may change the handler in _HANDLER.
"""

import os
import sys

if __name__ == "__main__":
    sys.path[0] = os.environ["LAMBDA_TASK_ROOT"]  # in the place of this folder: functions must not import its modules
    from awslambdaric import __main__ as awslambdaricmain
    from awslambdaric import bootstrap  # noqa: F401  (Sentry's integration finds the name in the main module)

    sys.argv = [awslambdaricmain.__file__, os.environ["_HANDLER"]]
    awslambdaricmain.main(sys.argv)
