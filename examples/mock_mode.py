"""Mock mode: every function answers and none runs. A caller can request the documented errors.

Run it, after ``pip install .`` in a checkout, from the checkout's directory:

    python -m examples.mock_mode

Call it. The answer is the empty value of the handler's return annotation, or the value of ``mock=``:

    curl -d '{"item": "tea"}' http://localhost:8080/2015-03-31/functions/order/invocations
    {"number": 0, "total": 0, "lines": []}
    curl -d '{"item": "tea"}' http://localhost:8080/2015-03-31/functions/stock/invocations
    {"tea": 3}

Request one of the errors that a function documents:

    curl -d '{}' -H 'X-Amz-Invocation-Type: Error' -H 'X-Error-Type: OutOfStock' \
        http://localhost:8080/2015-03-31/functions/order/invocations

``start_http`` runs the same functions for real. SERVERFULL_MOCK=true turns mock mode on in any server.
"""

from dataclasses import dataclass
from decimal import Decimal

from serverfull_wsgi import Function, StaticFetcher, start_http_mock


class OutOfStock(Exception):
    pass


class PaymentRefused(Exception):
    pass


@dataclass
class Order:
    number: int
    total: Decimal
    lines: list[str]


def order(event, context) -> Order:
    raise PaymentRefused("this would charge a card")


def stock(event, context) -> dict[str, int]:
    raise ConnectionError("this would call the warehouse")


fetcher = StaticFetcher(
    {
        "order": Function(order, errors=[OutOfStock("no tea is left"), PaymentRefused]),  # instances, or classes
        "stock": Function(stock, mock={"tea": 3}),
    }
)

if __name__ == "__main__":
    start_http_mock(fetcher)
