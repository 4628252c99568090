"""One function on AWS Lambda itself."""
