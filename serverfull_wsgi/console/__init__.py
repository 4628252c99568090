"""Pages and endpoints for operators."""
