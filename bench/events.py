"""The two events that the benchmarks send: 20 bytes, and 10 KB with every kind of JSON value."""

import json


def _order(number):
    return {
        "id": number,
        "customer": f"customer-{number}",
        "price": number * 1.25,
        "paid": number % 2 == 0,
        "note": None,
        "tags": ["new", "gift", f"batch {number // 10}"],
    }


SMALL = json.dumps({"greet": "Hello ."}).encode()
LARGE = json.dumps({"orders": [_order(number) for number in range(1000, 1082)]}).encode()
EVENTS = {"20 B": SMALL, "10 KB": LARGE}
