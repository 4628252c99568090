"""Functions on AWS Lambda itself."""
