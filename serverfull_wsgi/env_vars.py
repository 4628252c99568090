"""Environment variables of functions: reserved names and valid values.

Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
"""

from __future__ import annotations

import os

# Lambda sets these in a function's environment, and refuses a function that sets them itself.
RESERVED_VARIABLES = frozenset(
    "_HANDLER _X_AMZN_TRACE_ID AWS_DEFAULT_REGION AWS_REGION AWS_EXECUTION_ENV AWS_LAMBDA_FUNCTION_NAME "
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE AWS_LAMBDA_FUNCTION_VERSION AWS_LAMBDA_INITIALIZATION_TYPE "
    "AWS_LAMBDA_LOG_GROUP_NAME AWS_LAMBDA_LOG_STREAM_NAME AWS_ACCESS_KEY AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY "
    "AWS_SESSION_TOKEN AWS_LAMBDA_RUNTIME_API LAMBDA_TASK_ROOT LAMBDA_RUNTIME_DIR".split()
)

# On AWS the next three are the credentials of the function's role. Here there is no role, and the operator's files and
# code set them. A template and a deploy must not, as on AWS.
SERVER_VARIABLES = RESERVED_VARIABLES - {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}


def is_valid_value(value: object) -> bool:
    """Return whether an environment variable can have this value: text without NUL that the system can encode.

    >>> is_valid_value("grüezi"), is_valid_value("a" + chr(0)), is_valid_value(1)
    (True, False, False)
    """
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:  # a lone surrogate
        return False
