"""How long work tells how far it is: a function called with the task's name, what is done, and the total."""

from collections.abc import Callable

Report = Callable[[str, int, int], None]


def silent(task: str, done: int, total: int) -> None:
    """Reports to nobody."""
