"""The events that the benchmarks send: 20 bytes, 10 KB and 1 MB; the large ones have every kind of JSON value."""

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
HUGE = json.dumps({"orders": [_order(number) for number in range(1000, 9200)]}).encode()
EVENTS = {"20 B": SMALL, "10 KB": LARGE}
SIZES = {**EVENTS, "1 MB": HUGE}
