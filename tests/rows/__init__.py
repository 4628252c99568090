"""AWS Lambda's behaviour of Invoke and InvokeAsync as a table: one row for each statement, by topic."""

from tests.rows import calls, context, events, failures, logs, names, refusals, runtimes, templates

ROWS = [
    row
    for topic in (calls, refusals, names, failures, context, logs, events, runtimes, templates)
    for row in topic.ROWS
]
