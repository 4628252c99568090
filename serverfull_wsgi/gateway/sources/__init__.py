"""Sources of sites: SAM's and CloudFormation's resources, OpenAPI documents, and settings.

::

    template ──▶ sam              AWS::Serverless::Api and HttpApi, events, FunctionUrlConfig ──┐
             ──▶ cloudformation   AWS::ApiGateway, AWS::ApiGatewayV2, AWS::Lambda::Url, … ──────┼──▶ sites, warnings
    settings ──▶ configuration    SERVERFULL_ROUTES, SERVERFULL_ALB ────────────────────────────┘

                     documents, openapi      the document of an API, in the template or in a file
                     api_access, sam_access, restrictions, validators      the conditions for callers
                     known_properties      all other properties are conditions that are not supported
                     domains, responses, mocks, preflights, ignored        the other properties of an API

A source reads each value once, at the start. A route whose conditions for callers are unknown or not supported has an
`Access.unsupported`, so that it refuses each request. `warnings` has a line for each such route.
"""
