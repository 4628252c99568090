"""A module of a layer. A function can import each module in the layer's folder ``python``."""


def greet(greeting, name):
    return f"{greeting} {name}!"
