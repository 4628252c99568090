"""What is told about invocations: log lines, the log tail, and metrics under CloudWatch's names."""
