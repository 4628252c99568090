"""What AWS's runtimes and environments do beside one request: each row names its test."""

from tests.rows.row import Row

ISOLATED = "executors/isolated"

ROWS = [
    Row(
        "a process that ends between two calls does not fail the next one",
        test=f"{ISOLATED}/test_reuse.py::"
        "test_a_call_does_not_fail_if_the_runtime_ends_between_an_earlier_answer_and_its_event",
        reason="A process that ends after its answer fails no other call",
    ),
    Row(
        "the main module of a Python process is that of AWS's client",
        test=f"{ISOLATED}/test_python_modules.py::test_an_environment_has_the_modules_and_the_main_module_of_the_client",
    ),
    Row(
        "a function's own modules have precedence over modules that the client has not imported",
        test=f"{ISOLATED}/test_python_modules.py::"
        "test_each_module_of_a_function_is_imported_in_the_place_of_a_standard_module",
    ),
    Row(
        "AWS_LAMBDA_EXEC_WRAPPER starts the runtime",
        test=f"{ISOLATED}/test_wrappers.py::test_a_python_runtime_is_started_by_the_script",
    ),
    Row(
        "inline code has cfnresponse",
        test="fetchers/sam/test_inline.py::test_an_answer_is_sent_to_the_address_in_the_event",
    ),
    Row(
        "LoggingConfig sets the format and the levels of the log",
        test=f"{ISOLATED}/test_logging_config.py::"
        "test_the_format_json_reaches_the_runtime_and_the_lines_of_the_platform",
    ),
]
