import os
from pathlib import Path

with Path(os.environ["STARTS"]).open("a") as file:
    file.write("x")
os._exit(7)
