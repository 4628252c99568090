print("read at the start " * 10_000 + "to the end")


def handler(event, context):
    print("handled")
