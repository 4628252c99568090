"""The application under gunicorn. `start` imports gunicorn only when it runs."""
