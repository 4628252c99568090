"""Functions from a SAM or CloudFormation template: what it says, what that means, and where the code is."""

from serverfull_wsgi.fetchers.sam.fetcher import SamFetcher

__all__ = ["SamFetcher"]
