"""The tail of the log."""

from dataclasses import replace

from tests.rows.row import HELLO, TAIL, Having, Like, Request, Row, answered, failed

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
REPORT = (
    r"REPORT RequestId: ID\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\t"
    r"Max Memory Used: \d+ MB\t\n"
)

REST = 4096 - 2 * len("00000000-0000-0000-0000-000000000000") + 2 * len("ID")  # of a full tail with two request ids


def of_environments(row):
    """Return the row with a REPORT that may contain the start of an environment."""
    pattern = row.response.log.pattern.removesuffix(r"\n") + r"(Init Duration: \d+\.\d\d ms\t)?\n"
    return replace(row, where={"isolated": row.response._replace(log=Like(pattern))})


ROWS = [
    answered(
        "the tail has START, the printed lines, log records from WARNING on, END and REPORT",
        Request("noisy", headers=TAIL),
        b'"ok"',
        log=Like(
            r"START RequestId: ID Version: \$LATEST\n"
            r"printed\n"
            r"to stderr\n"
            r"as bytes\n"
            rf"\[WARNING\]\t{TIME}\tID\twarned 1\n"
            r"through the context\n"
            rf"END RequestId: ID\n{REPORT}"
        ),
    ),
    answered(
        "the tail names the version",
        Request("hello:1", headers=TAIL),
        b'"one"',
        version="1",
        log=Like(rf"START RequestId: ID Version: 1\nEND RequestId: ID\n{REPORT}"),
    ),
    answered(
        "the tail is the last 4,096 bytes",
        Request("chatty", headers=TAIL),
        b"null",
        log=Like(rf"(?=.{{{REST}}}\Z).*line 0998\nline 0999\nEND RequestId: ID\n{REPORT}"),
    ),
    failed(
        "the tail shows a function error once, indented by U+00A0",
        Request("broken", headers=TAIL),
        Having(errorType="ValueError"),
        log=Like(
            r"START RequestId: ID Version: \$LATEST\n"
            r"\[ERROR\] ValueError: boom\nTraceback \(most recent call last\):\n"
            '\u00a0\u00a0File ".*handlers\\.py", line \\d+, in broken\n'
            "\u00a0\u00a0\u00a0\u00a0raise ValueError\\([^\n]*\n"
            rf"END RequestId: ID\n{REPORT}"
        ),
    ),
    answered("no tail is sent unless it is requested", Request("hello", headers={"X-Amz-Log-Type": "None"}), HELLO),
    Row(
        "a log equals that of AWS's own runtime",
        test="executors/test_aws_runtime_client.py::test_a_statement_logs_the_same_text_as_on_aws",
    ),
    Row(
        "the first REPORT of an environment has the Init Duration",
        test="executors/isolated/test_environments.py::test_the_first_report_has_the_init_duration_and_each_the_memory_of_the_function",
        reason="no `INIT_START` line, no `Init Duration`",
    ),
    Row("the start of an environment has an INIT_START line", reason="There is no `INIT_START` line"),
    Row(
        "a timeout is in REPORT and in its own line",
        test="executors/isolated/test_environment_ends.py::test_a_timeout_is_reported_as_on_aws_and_the_next_invocation_gets_a_new_process",
        reason="**Timeouts are advisory**",
    ),
    Row(
        "Max Memory Used is that of the function",
        test="executors/isolated/test_environments.py::test_the_first_report_has_the_init_duration_and_each_the_memory_of_the_function",
        reason="REPORT's `Max Memory Used` is the peak of the whole server process",
    ),
    Row(
        "the tail has the output of the function's other processes and threads",
        test="executors/isolated/test_custom_runtimes.py::test_a_shell_script_can_be_a_runtime",
        reason="**The tail has what Python code writes**",
    ),
]

ROWS = [of_environments(row) if row.response and row.response.log else row for row in ROWS]
