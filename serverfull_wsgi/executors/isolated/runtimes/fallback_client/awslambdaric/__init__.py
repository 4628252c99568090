"""serverfull_wsgi's runtime client for Python functions, under the names of AWS's modules."""
