"""AWS Lambda's behaviour of Invoke and InvokeAsync as a table: one row for each statement, by topic."""

from tests.rows import calls, context, events, failures, logs, names, refusals

ROWS = [row for topic in (calls, refusals, names, failures, context, logs, events) for row in topic.ROWS]
