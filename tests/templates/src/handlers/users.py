def list_(event, context):
    return []


def create(event, context):
    return event
