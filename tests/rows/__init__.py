"""How AWS Lambda's Invoke and InvokeAsync behave, as a table: a row for each statement, by topic."""

from tests.rows import calls, context, events, failures, logs, names, refusals

ROWS = [row for topic in (calls, refusals, names, failures, context, logs, events) for row in topic.ROWS]
