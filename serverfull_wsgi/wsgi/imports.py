"""The lock of imports that the first request makes."""

import threading

# werkzeug's modules import each other in circles. If two threads import different ones at the same time, Python gives
# one of the threads a module that is not complete, and the request fails with an ImportError.
WERKZEUG_LOCK = threading.RLock()
