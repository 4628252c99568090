import pathlib
import tempfile
import time

mark = pathlib.Path(tempfile.gettempdir(), "been here")
print("awake" if mark.exists() else "asleep")
if not mark.exists():
    mark.touch()
    time.sleep(60)


def handler(event, context):
    print("at work")
    return "late, but here"
