"""Rules that arguments of optimizers and schedules keep, checked without Keras: recipes are read before it loads."""

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from tltool.errors import OptimizerError


@dataclass(frozen=True)
class Rule:
    """What a value must be.

    Attributes:
        words: It in words, after "must be".
        holds: Whether a value is so.
    """

    words: str
    holds: Callable[[Any], bool]


def _number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _compiles(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(re.compile(value))
    except re.error:
        return False


NUMBER = Rule("a number", _number)
ABOVE_ZERO = Rule("a number above 0", lambda value: _number(value) and value > 0)
NOT_NEGATIVE = Rule("a number, 0 or above", lambda value: _number(value) and value >= 0)
BELOW_ONE = Rule("a number in [0, 1)", lambda value: _number(value) and 0 <= value < 1)
SHARE = Rule("a number in (0, 1]", lambda value: _number(value) and 0 < value <= 1)
INSIDE = Rule("a number in (0, 1)", lambda value: _number(value) and 0 < value < 1)
UNIT = Rule("a number in [0, 1]", lambda value: _number(value) and 0 <= value <= 1)
AT_LEAST_ONE = Rule("a whole number, 1 or above", lambda value: _whole(value) and value >= 1)
AT_LEAST_TWO = Rule("a whole number, 2 or above", lambda value: _whole(value) and value >= 2)
COUNT = Rule("a whole number, 0 or above", lambda value: _whole(value) and value >= 0)
FLAG = Rule("true or false", lambda value: isinstance(value, bool))
PATTERNS = Rule(
    "a list of regular expressions", lambda value: isinstance(value, list | tuple) and all(map(_compiles, value))
)


def one_of(*words: str) -> Rule:
    """One of some words."""
    return Rule("one of " + ", ".join(f'"{word}"' for word in words), lambda value: value in words)


def optional(rule: Rule) -> Rule:
    """The same, or None for none of it."""
    return Rule(f"{rule.words}, or None", lambda value: value is None or rule.holds(value))


def check_arguments(owner: str, given: Mapping[str, Any], known: Mapping[str, Rule]) -> None:
    """Checks names and values.

    Args:
        owner: Whose arguments they are, for messages.
        given: Names and values.
        known: The rules, by name.

    Raises:
        OptimizerError: listing every fault.
    """
    faults = []
    for name, value in given.items():
        if name not in known:
            faults.append(f"{owner}: unknown argument `{name}`.{suggestion(name, known)} {_listed(known)}")
        elif not known[name].holds(value):
            faults.append(f"{owner}: `{name}` = {value!r}: must be {known[name].words}.")
    if faults:
        raise OptimizerError("\n".join(faults))


def suggestion(wrong: str, known: Any) -> str:
    """ " Did you mean ...?" where something is near enough, else nothing."""
    close = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f" Did you mean `{close[0]}`?" if close else ""


def _listed(known: Mapping[str, Rule]) -> str:
    return f"It takes {', '.join(sorted(known))}." if known else "It takes none."
