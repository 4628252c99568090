"""What lies in the layer's folder ``python`` can be imported by the function."""


def greet(greeting, name):
    return f"{greeting} {name}!"
