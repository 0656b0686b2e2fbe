"""The rates at which optimizers are run on each surface where nobody names another."""

from collections.abc import Mapping
from typing import Any

from tltool.optimizers import catalogue
from tltool.optimizers.surfaces import Surface, find_surface

# One rate for each family and surface, so that members of a family differ by their rule alone. Chosen for what they
# show on pictures of 100 steps, not for the lowest loss, for at the rate of the lowest loss a lucky jump hides the
# rule: SGD zig-zags (on bowl and ravine at 0.9 of the rate from which it diverges), momentum is seen to swing, the
# others cross the picture in tens of steps. At all of them the loss falls below 0.3 of its start within 100 steps.
RATES: Mapping[str, Mapping[str, float]] = {
    "bowl": {"sgd": 0.036, "momentum": 0.01, "adagrad": 0.5, "adam": 0.2, "rmsprop": 0.1},
    "saddle": {"sgd": 0.1, "momentum": 0.02, "adagrad": 0.2, "adam": 0.05, "rmsprop": 0.05},
    "ravine": {"sgd": 0.036, "momentum": 0.01, "adagrad": 0.1, "adam": 0.2, "rmsprop": 0.02},
    "local-minimum": {"sgd": 0.1, "momentum": 0.05, "adagrad": 0.2, "adam": 0.2, "rmsprop": 0.1},
    "rosenbrock": {"sgd": 0.0015, "momentum": 0.0005, "adagrad": 0.5, "adam": 0.1, "rmsprop": 0.01},
    "beale": {"sgd": 0.01, "momentum": 0.005, "adagrad": 1.0, "adam": 0.2, "rmsprop": 0.1},
}
# Which column a name takes; Adam's for those that are not here.
FAMILIES = {
    "sgd": "sgd",
    **dict.fromkeys(("momentum", "nesterov"), "momentum"),
    **dict.fromkeys(("adagrad", "decayed-adagrad", "adagrad-norm", "nesterov-adagrad"), "adagrad"),
    **dict.fromkeys(("adagrad-with-warm-restart", "ftrl"), "adagrad"),
    **dict.fromkeys(("rmsprop", "lion"), "rmsprop"),  # steps that do not shrink near the minimum
}
ADADELTA_RATE = 20.0  # on every surface: at 1, its authors' rate, 100 steps from a cold start cannot be seen


def default_rate(name: str, surface: str | Surface) -> float:
    """The rate at which a name is run on a surface; on one of your own, the bowl's."""
    known, _ = catalogue.find(name)
    rates = RATES.get(find_surface(surface).name, RATES["bowl"])
    return ADADELTA_RATE if known == "adadelta" else rates[FAMILIES.get(known, "adam")]


def arguments_on(name: str, surface: str | Surface, steps: int) -> dict[str, Any]:
    """Arguments with which a name is run: its rate, and a cycle short enough to be seen."""
    known, entry = catalogue.find(name)
    if entry.full_batch:
        return {"max_iterations": steps}
    arguments: dict[str, Any] = {"learning_rate": default_rate(known, surface)}
    if known == "adagrad-with-warm-restart":
        arguments["first_cycle"] = max(1, steps // 4)
    return arguments
