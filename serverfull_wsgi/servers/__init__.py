"""Programs that serve the application: gunicorn over HTTP, and AWS's runtime client on AWS Lambda."""
