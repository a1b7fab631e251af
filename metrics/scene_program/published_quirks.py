"""What the published evaluator read into incomplete programs (METRICS, quirks), as a repair of the text."""

import re

_STATEMENT = re.compile(r"add\((.*)\)")


def fill_missing_numbers(text: str, places: dict[str, int], num_token: str) -> str:
    """Writes 0 for every number that a statement lacks; what is incomplete in another way stays as it is.

    Args:
        text: a program text.
        places: numeric attribute -> how many numbers it has.
        num_token: the token of a number without a value; counts as missing.
    """

    def fill(statement: re.Match[str]) -> str:
        arguments = statement[1].strip()
        for name, count in places.items():
            arguments = _fill_attribute(arguments, name, count, num_token)
        return f"add({arguments})"

    return _STATEMENT.sub(fill, text)


def _fill_attribute(arguments: str, name: str, count: int, num_token: str) -> str:
    given = re.search(rf"\b{name}\s*=\s*(\([^()]*\)|[^,()]*)", arguments)
    stated = [number.strip() for number in given[1].strip("() \t").split(",")] if given else []
    numbers = ["0" if number in ("", num_token) else number for number in stated] + ["0"] * (count - len(stated))
    value = f"{name}=({', '.join(numbers)})" if count > 1 else f"{name}={numbers[0]}"
    if given:
        return arguments[: given.start()] + value + arguments[given.end() :]
    return f"{arguments}, {value}" if arguments else value
