"""Values of codes on a command line, e.g. `c1=3,c2=-1.5`."""

from __future__ import annotations

from gan_zoo.errors import InputError, quoted


def parse_values(text: str) -> dict[str, float]:
    """Parse a value for each code, e.g. `c1=3,c2=-1.5`.

    Raises:
        InputError: If a part is not NAME=NUMBER, or a name occurs twice.
    """
    lists = parse_lists(text, "c1=3,c2=-1.5")
    for name, values in lists.items():
        if len(values) > 1:
            raise InputError(f"--codes gives {name} {len(values)} values; it takes one, as in c1=3,c2=-1.5")
    return {name: values[0] for name, values in lists.items()}


def parse_lists(text: str, example: str = "c2=1.5, c2=-1,0,1 or c1=3,c2=1") -> dict[str, list[float]]:
    """Parse values of codes, e.g. `c2=1.5,c3=0`, or several of one: `c2=-1,0,1`.

    Raises:
        InputError: If a part is neither NAME=NUMBER nor a further NUMBER, or a name occurs twice.
    """
    values: dict[str, list[float]] = {}
    name = ""
    for part in filter(None, (part.strip() for part in text.split(","))):
        before, equals, number = (word.strip() for word in part.rpartition("="))
        if equals:
            if before in values:
                raise InputError(f"--codes sets {quoted(before)} twice")
            name = before
        try:
            if not name:
                raise ValueError
            values.setdefault(name, []).append(float(number))
        except ValueError:
            raise InputError(f"--codes: {quoted(part)!r} is not NAME=NUMBER, as in {example}") from None
    return values
