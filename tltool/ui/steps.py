"""From a process's events to where it is."""

from collections.abc import Sequence
from dataclasses import dataclass

from tltool.training.events import Event

# Seconds of a task before its time left is told: the first batch compiles and says nothing of those that follow.
SETTLED = 2.0


@dataclass(frozen=True)
class Step:
    """What a process is doing.

    Attributes:
        text: In words.
        share: How much of it is done, [0, 1]; None where that is not known.
        seconds_left: Of this step; None where that is not known.
    """

    text: str
    share: float | None = None
    seconds_left: float | None = None


def current_step(events: Sequence[Event]) -> Step | None:
    """The last step that the events tell of; None if there is none yet."""
    told = [event for event in events if event["event"] in ("stage", "progress")]
    if not told:
        return None
    last = told[-1]
    if last["event"] == "stage":
        return Step(last["text"])
    text = f"{last['task']}: {last['done']:,} of {last['total']:,}"
    return Step(text, last["done"] / max(last["total"], 1), _seconds_left(_this_task(told)))


def _this_task(told: Sequence[Event]) -> list[Event]:
    """The unbroken series of progress that ends the list; a task may be done twice, with other totals."""
    series = [told[-1]]
    for event in reversed(told[:-1]):
        after = series[-1]
        if (event.get("task"), event.get("total")) != (after["task"], after["total"]) or event["done"] > after["done"]:
            break
        series.append(event)
    return series[::-1]


def _seconds_left(series: Sequence[Event]) -> float | None:
    first, last = next((event for event in series if event["done"] > 0), series[-1]), series[-1]
    elapsed, done = last["time"] - first["time"], last["done"] - first["done"]
    if elapsed < SETTLED or done <= 0:
        return None
    return elapsed / done * (last["total"] - last["done"])
