"""Sources of sites: SAM's and CloudFormation's resources, OpenAPI documents, and settings.

::

    template ──▶ sam              AWS::Serverless::Api and HttpApi, events, FunctionUrlConfig ──┐
             ──▶ cloudformation   AWS::ApiGateway, AWS::ApiGatewayV2, AWS::Lambda::Url, … ──────┼──▶ sites, warnings
    settings ──▶ configuration    SERVERFULL_ROUTES, SERVERFULL_ALB ────────────────────────────┘
                     openapi      the document of an API, in either kind of template

A source reads each value once, at the start. A route whose conditions for callers are unknown or not supported has an
`Access.unsupported`, so that it refuses each request. `warnings` has a line for each such route.
"""
