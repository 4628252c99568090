"""Modules that inline code of a template can import, as on AWS: ``cfnresponse`` in Python, ``cfn-response`` in Node.js.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-lambda-function-code-cfnresponsemodule.html
"""
