"""Stalls of callers while the file with the keys changes: python -m bench.keys.

Threads look keys up without a pause while the file is replaced. A look-up that waited for the file to be read would
take as long as one reading.
"""

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

from serverfull_wsgi import CredentialsFile

PROFILE = "[user{number}]\naws_access_key_id = AKID{number:08}\naws_secret_access_key = {secret}-{number}\n"


def main():
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "keys")
        _replace(path, options.keys, "first")
        started, cpu = time.perf_counter(), time.process_time()
        keys = CredentialsFile(path)
        reading, reading_cpu = time.perf_counter() - started, time.process_time() - cpu
        print(f"{options.keys:,} keys; one reading without callers: {reading:.2f} s, {reading_cpu:.2f} s of CPU")
        for change in range(options.changes):
            _show(f"change {change + 1}", *_stalls(keys, path, options, f"secret{change}"), reading)


def _options():
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--keys", type=int, default=10_000, help="keys in the file (default: 10000)")
    parser.add_argument("--threads", type=int, default=16, help="threads that look keys up (default: 16)")
    parser.add_argument("--changes", type=int, default=3, help="changes of the file (default: 3)")
    return parser.parse_args()


def _replace(path, count, secret):
    new = path.with_suffix(".new")
    new.write_text("".join(PROFILE.format(number=number, secret=secret) for number in range(count)))
    os.chmod(new, 0o600)
    os.rename(new, path)


def _stalls(keys, path, options, secret):
    """Return the seconds until the new key is in force, and the seconds of each thread's longest look-ups."""
    longest = [[] for _ in range(options.threads)]
    stop = threading.Event()

    def look_up(times):
        key = "AKID00000000"
        while not stop.is_set():
            started = time.perf_counter()
            keys(key)
            times.append(time.perf_counter() - started)
            time.sleep(0.001)  # a request has other work too

    _replace(path.with_name("next"), options.keys, secret)
    threads = [threading.Thread(target=look_up, args=[times]) for times in longest]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    started = time.perf_counter()
    os.rename(path.with_name("next"), path)
    while keys("AKID00000000").secret != f"{secret}-0":
        time.sleep(0.001)
    seconds = time.perf_counter() - started
    time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join()
    return seconds, [max(times) for times in longest], sorted(time for times in longest for time in times)


def _show(title, seconds, longest, times, reading):
    waited = sum(time > reading / 2 for time in longest)
    p99 = times[len(times) * 99 // 100]
    print(
        f"{title}: in force after {seconds / reading:.2f} x one reading; {len(times):,} look-ups, "
        f"p99 {1000 * p99:.1f} ms; "
        f"{waited} of {len(longest)} threads waited for a reading, the others at most "
        f"{sorted(longest)[-1 - waited] / reading:.3f} x one reading"
    )


if __name__ == "__main__":
    main()
