def handler(event, context:
