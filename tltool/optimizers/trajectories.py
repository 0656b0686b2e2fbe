"""Paths of the real optimizers over surfaces of two weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tltool.errors import OptimizerError
from tltool.optimizers import catalogue
from tltool.optimizers.arguments import AT_LEAST_ONE, COUNT, NOT_NEGATIVE
from tltool.optimizers.surface_rates import arguments_on
from tltool.optimizers.surfaces import Surface, find_surface
from tltool.progress import Report, silent

if TYPE_CHECKING:
    import keras

    from tltool.optimizers.lbfgs import LBFGS
    from tltool.optimizers.newton_cg import NewtonCG

FAR = 1e6  # a weight beyond it has left for good: every surface lies within 5 of the origin


@dataclass(frozen=True)
class Trajectory:
    """A path over a surface.

    Attributes:
        name: The optimizer's.
        points: The weights as a user would save them, before the first step and after each, shape (steps + 1, 2).
        losses: The surface's exact loss at each point, shape (steps + 1,).
        diverged_at: The first step after which a weight was not a number or beyond `FAR`; from there on points and
            losses are NaN. None if there was none.
        learning_rate: The rate of the first step; None for full-batch methods, which search for theirs.
    """

    name: str
    points: np.ndarray
    losses: np.ndarray
    diverged_at: int | None
    learning_rate: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not a number becomes None."""
        return {
            "name": self.name,
            "learning_rate": self.learning_rate,
            "diverged_at": self.diverged_at,
            "points": [[_number(x), _number(y)] for x, y in self.points],
            "losses": [_number(loss) for loss in self.losses],
        }


def trajectory(
    optimizer: "str | keras.optimizers.Optimizer | LBFGS | NewtonCG",
    surface: str | Surface,
    start: Sequence[float] | None = None,
    steps: int = 100,
    noise: float = 0.0,
    seed: int = 0,
) -> Trajectory:
    """Runs an optimizer over a surface, on a float32 variable of two weights and the exact slope.

    Muon needs a matrix: on two weights it is the AdamW that it uses for all other variables.

    Args:
        optimizer: A name of the catalogue, run at its `default_rate`; or an optimizer, of which a fresh copy is run: it
            stays as it is, and its slots and its count of steps are not used.
        surface: A surface or its name.
        start: Where the path starts, shape (2,); the surface's own start by default.
        steps: Updates, or iterations of a full-batch method, >= 1. A full-batch method that has converged stays there.
        noise: Standard deviation of the normal noise on each slope, >= 0; 0 for full-batch methods.
        seed: Of the noise, >= 0. Optimizers with the same seed meet the same noise.

    Raises:
        OptimizerError: if an argument breaks its rule, or noise is asked of a full-batch method.
    """
    surface = find_surface(surface)
    first = _checked_start(surface, start, steps, noise, seed)
    if isinstance(optimizer, str):
        name, _ = catalogue.find(optimizer)
        optimizer = catalogue.get(name, **arguments_on(name, surface, steps))
    elif not (hasattr(optimizer, "apply") or hasattr(optimizer, "solve")):
        raise OptimizerError(f"{optimizer!r} is no optimizer. Give one, or one of {', '.join(catalogue.names())}.")
    else:
        name = getattr(optimizer, "name", type(optimizer).__name__)  # the full-batch methods have none
    if hasattr(optimizer, "solve"):
        _check_exact(name, noise)
        rate, points = None, _full_batch(optimizer, surface, first, steps)
    else:
        rate, points = _stochastic(optimizer, surface, first, steps, noise, seed)
    return _judged(name, surface, points, rate)


def race(
    names: Sequence[str],
    surface: str | Surface,
    rates: Mapping[str, float] | None = None,
    start: Sequence[float] | None = None,
    steps: int = 100,
    noise: float = 0.0,
    seed: int = 0,
    report: Report = silent,
) -> list[Trajectory]:
    """Runs several optimizers over one surface from one start.

    Args:
        names: Of the catalogue, each once, at least one.
        surface: A surface or its name.
        rates: Rates by name, above 0, in the place of `default_rate`.
        start: As in `trajectory`; so are the next three.
        steps: Updates of each.
        noise: On each slope.
        seed: Of the noise.
        report: Told after each path.

    Raises:
        OptimizerError: if an argument breaks its rule, or a rate is given to what takes none.
    """
    surface = find_surface(surface)
    racers = check_race(names, surface, rates, start, steps, noise, seed)
    paths = []
    for name, arguments in racers.items():
        optimizer = catalogue.get(name, **arguments)
        paths.append(replace(trajectory(optimizer, surface, start, steps, noise, seed), name=name))
        report("Optimizers", len(paths), len(racers))
    return paths


def check_race(
    names: Sequence[str],
    surface: str | Surface,
    rates: Mapping[str, float] | None = None,
    start: Sequence[float] | None = None,
    steps: int = 100,
    noise: float = 0.0,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Checks what `race` takes, without Keras.

    Returns:
        The names as the catalogue writes them, and the arguments that each is built with.

    Raises:
        OptimizerError: as `race`.
    """
    surface = find_surface(surface)
    _checked_start(surface, start, steps, noise, seed)
    entries = dict(catalogue.find(name) for name in names)
    if not names or len(entries) < len(names):
        raise OptimizerError(f"A race of {', '.join(names) or 'nobody'}: name at least one optimizer, each once.")
    chosen = {catalogue.find(name)[0]: rate for name, rate in (rates or {}).items()}
    for name, rate in chosen.items():
        if name not in entries or entries[name].full_batch:
            why = "it searches for its own" if name in entries else "it is not in the race"
            raise OptimizerError(f"A rate for {name}: {why}. Leave it out.")
        catalogue.check_rate(name, rate)
    racers = {}
    for name, entry in entries.items():
        if entry.full_batch:
            _check_exact(name, noise)
        racers[name] = arguments_on(name, surface, steps)
        if name in chosen:
            racers[name]["learning_rate"] = chosen[name]
    return racers


def _checked_start(surface: Surface, start: Any, steps: Any, noise: Any, seed: Any) -> np.ndarray:
    for name, value, rule in (("steps", steps, AT_LEAST_ONE), ("noise", noise, NOT_NEGATIVE), ("seed", seed, COUNT)):
        if not rule.holds(value):
            raise OptimizerError(f"`{name}` = {value!r}: must be {rule.words}.")
    try:
        first = np.array(surface.start if start is None else start, "float64")
    except (TypeError, ValueError):
        first = np.array(np.nan)
    if first.shape != (2,) or not np.all(np.abs(first) <= FAR):
        raise OptimizerError(f"`start` = {start!r}: must be two numbers, such as {surface.start}.")
    return first


def _check_exact(name: str, noise: float) -> None:
    if noise:
        raise OptimizerError(f"{name}: a full-batch method needs the exact slope. Leave it out, or set `noise` to 0.")


def _stochastic(
    optimizer: "keras.optimizers.Optimizer", surface: Surface, start: np.ndarray, steps: int, noise: float, seed: int
) -> tuple[float, np.ndarray]:
    """The first rate and the points up to the first that is far away."""
    import keras

    from tltool.optimizers.finalize import finalized, inner_optimizers

    optimizer = type(optimizer).from_config(optimizer.get_config())
    weights = keras.Variable(start, dtype="float32", name="weights")
    optimizer.build([weights])
    rate = max(float(inner.learning_rate) for inner in inner_optimizers(optimizer))
    rate = float(f"{rate:.7g}")  # 0.2, not the 0.20000000298 that float32 keeps for it
    random = np.random.default_rng(seed)
    points = [start]
    for _ in range(steps):
        # Where the gradient is wanted; with look-ahead, not the point that is recorded.
        here = keras.ops.convert_to_numpy(weights).astype("float64")
        slope = surface.gradient(here) + noise * random.standard_normal(2)
        optimizer.apply([keras.ops.convert_to_tensor(slope, "float32")], [weights])
        with finalized(optimizer, [weights]):
            points.append(keras.ops.convert_to_numpy(weights).astype("float64"))
        if not np.all(np.abs(points[-1]) <= FAR):
            break
    return rate, _padded(points, steps, np.full(2, np.nan))


def _full_batch(optimizer: "LBFGS | NewtonCG", surface: Surface, start: np.ndarray, steps: int) -> np.ndarray:
    from tltool.optimizers.newton_cg import NewtonCG

    points: list[np.ndarray] = []  # the start is told as well

    def loss_and_gradient(point: np.ndarray) -> tuple[float, np.ndarray]:
        return float(surface.loss(point)), surface.gradient(point)

    def hessian_vector(point: np.ndarray, vector: np.ndarray) -> np.ndarray:
        return surface.hessian(point) @ vector

    def record(point: np.ndarray) -> None:
        points.append(np.array(point))  # a copy: the method may move the array that it passes

    if isinstance(optimizer, NewtonCG):
        optimizer.solve(loss_and_gradient, start, hessian_vector=hessian_vector, on_iteration=record)
    else:
        optimizer.solve(loss_and_gradient, start, on_iteration=record)
    return _padded(points[: steps + 1], steps, points[-1])


def _padded(points: list[np.ndarray], steps: int, rest: np.ndarray) -> np.ndarray:
    return np.array(points + [rest] * (steps + 1 - len(points)))


def _judged(name: str, surface: Surface, points: np.ndarray, rate: float | None) -> Trajectory:
    """The path with everything from the first far point on taken out."""
    far = ~np.all(np.abs(points) <= FAR, axis=1)  # NaN compares as false
    diverged_at = int(np.argmax(far)) if far.any() else None
    points = points.copy()
    points[far.cumsum() > 0] = np.nan
    return Trajectory(name, points, surface.loss(points), diverged_at, rate)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
