"""All optimizers by name: what each is for, its arguments and their rules. Read without Keras, built by `get`."""

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tltool.errors import OptimizerError
from tltool.optimizers.arguments import (
    ABOVE_ZERO,
    AT_LEAST_ONE,
    AT_LEAST_TWO,
    BELOW_ONE,
    COUNT,
    FLAG,
    INSIDE,
    NOT_NEGATIVE,
    NUMBER,
    PATTERNS,
    SHARE,
    UNIT,
    Rule,
    check_arguments,
    one_of,
    optional,
    suggestion,
)

if TYPE_CHECKING:
    import keras

    from tltool.optimizers.lbfgs import LBFGS
    from tltool.optimizers.newton_cg import NewtonCG

KERAS = "keras.optimizers"


@dataclass(frozen=True)
class Entry:
    """One optimizer.

    Attributes:
        home: The module that its class is in.
        class_name: The class.
        summary: What it does, in one line.
        use: When to take it.
        rules: Its own arguments; `COMMON` ones come on top.
        preset: Arguments in which the name differs from the class's defaults.
        full_batch: Whether it needs the loss of the whole set at once, and finds its rate by itself.
    """

    home: str
    class_name: str
    summary: str
    use: str
    rules: Mapping[str, Rule]
    preset: Mapping[str, Any] = field(default_factory=dict)
    full_batch: bool = False


# A count of steps is an int32 on JAX; and below this float32 knows only 0, by which a step would be divided.
COUNTABLE = Rule("a whole number from 1 to 2^31 - 1", lambda value: AT_LEAST_ONE.holds(value) and value < 2**31)
NOT_TINY = Rule("a number above 1e-30", lambda value: NUMBER.holds(value) and value > 1e-30)

# What every Keras optimizer takes besides its rate.
COMMON: Mapping[str, Rule] = {
    "weight_decay": optional(NOT_NEGATIVE),
    "clipnorm": optional(ABOVE_ZERO),
    "clipvalue": optional(ABOVE_ZERO),
    "global_clipnorm": optional(ABOVE_ZERO),
    "use_ema": FLAG,
    "ema_momentum": UNIT,
    "ema_overwrite_frequency": optional(AT_LEAST_ONE),
    "loss_scale_factor": optional(ABOVE_ZERO),
    "gradient_accumulation_steps": optional(AT_LEAST_TWO),
    "name": optional(
        Rule("a word without /", lambda value: isinstance(value, str) and bool(value) and "/" not in value)
    ),
}
_BETAS = {"beta_1": BELOW_ONE, "beta_2": BELOW_ONE, "epsilon": ABOVE_ZERO}
_ADAM = {**_BETAS, "amsgrad": FLAG}
_SGD = {"momentum": BELOW_ONE, "nesterov": FLAG}
_ADAGRAD = {"initial_accumulator_value": NOT_NEGATIVE, "epsilon": ABOVE_ZERO}

OPTIMIZERS: Mapping[str, Entry] = {
    "sgd": Entry(
        KERAS, "SGD", "A step against the gradient.", "As the baseline; zig-zags where the scales differ.", _SGD
    ),
    "momentum": Entry(
        KERAS,
        "SGD",
        "A velocity that gathers gradients and loses a share of itself each step.",
        "Long training with a tuned rate and schedule.",
        _SGD,
        {"momentum": 0.9},
    ),
    "nesterov": Entry(
        "tltool.optimizers.nesterov",
        "Nesterov",
        "Momentum whose gradient is taken where the velocity is about to lead.",
        "In the place of momentum: overshoots less at the same cost.",
        {"momentum": BELOW_ONE, "form": one_of("lookahead", "reformulated")},
    ),
    "adagrad": Entry(
        KERAS,
        "Adagrad",
        "Divides each weight's step by the root of the sum of its squared gradients.",
        "Sparse features and convex problems; its step dies out.",
        _ADAGRAD,
    ),
    "decayed-adagrad": Entry(
        "tltool.optimizers.decayed_adagrad",
        "DecayedAdagrad",
        "Adagrad whose sum leaks, so that the step does not die out.",
        "Where Adagrad starts well and then stalls.",
        {"decay": SHARE, **_ADAGRAD},
    ),
    "adagrad-norm": Entry(
        "tltool.optimizers.adagrad_norm",
        "AdagradNorm",
        "Adagrad with one sum for each variable: the gradient keeps its direction.",
        "Where the rate is hard to guess: it finds the scale by itself.",
        {"initial_accumulator_value": NOT_TINY},
    ),
    "nesterov-adagrad": Entry(
        "tltool.optimizers.nesterov_adagrad",
        "NesterovAdagrad",
        "Look-ahead momentum on Adagrad's rescaled gradient.",
        "Badly scaled problems on which Adagrad is right but slow.",
        {"momentum": BELOW_ONE, **_ADAGRAD},
    ),
    "adagrad-with-warm-restart": Entry(
        "tltool.optimizers.adagrad_with_warm_restart",
        "AdagradWithWarmRestart",
        "Adagrad that forgets its sum at the start of each cosine cycle of the rate.",
        "Long training by Adagrad; snapshots at the ends of cycles.",
        {"first_cycle": COUNTABLE, "cycle_growth": COUNTABLE, "floor": UNIT, **_ADAGRAD},
    ),
    "rmsprop": Entry(
        KERAS,
        "RMSprop",
        "Divides each weight's step by the root of a moving mean of its squared gradients.",
        "Where gradients change their size in the course of training.",
        {"rho": BELOW_ONE, "momentum": BELOW_ONE, "epsilon": ABOVE_ZERO, "centered": FLAG},
    ),
    "adadelta": Entry(
        KERAS,
        "Adadelta",
        "RMSProp that also rescales by its own past steps.",
        "Hardly needed today.",
        {"rho": BELOW_ONE, "epsilon": ABOVE_ZERO},
    ),
    "adam": Entry(
        KERAS, "Adam", "Momentum over RMSProp's scale, both corrected for their cold start.", "First, and often.", _ADAM
    ),
    "adamw": Entry(
        KERAS, "AdamW", "Adam with weight decay apart from the gradient.", "Fine-tuning: forgiving of the rate.", _ADAM
    ),
    "adamax": Entry(KERAS, "Adamax", "Adam by the largest gradient in place of the mean.", "Rare spikes.", _BETAS),
    "nadam": Entry(KERAS, "Nadam", "Adam with Nesterov's look-ahead.", "As Adam; a little faster at times.", _BETAS),
    "lamb": Entry(KERAS, "Lamb", "Adam with each layer's step scaled to its weights.", "Batches of thousands.", _BETAS),
    "lion": Entry(
        KERAS,
        "Lion",
        "A step of the same size for every weight, by the sign of the momentum.",
        "Memory is short; a third to a tenth of Adam's rate.",
        {"beta_1": INSIDE, "beta_2": BELOW_ONE},
    ),
    "adafactor": Entry(
        KERAS,
        "Adafactor",
        "Adam with rows and columns of squared gradients in place of all of them.",
        "Very large matrices.",
        {
            "beta_2_decay": NUMBER,
            "epsilon_1": ABOVE_ZERO,
            "epsilon_2": ABOVE_ZERO,
            "clip_threshold": ABOVE_ZERO,
            "relative_step": FLAG,
        },
    ),
    "ftrl": Entry(
        KERAS,
        "Ftrl",
        "Follows the regularized leader: weights that stay exactly zero.",
        "Sparse linear models.",
        {
            "learning_rate_power": Rule("a number, 0 or below", lambda value: NUMBER.holds(value) and value <= 0),
            "initial_accumulator_value": NOT_NEGATIVE,
            "l1_regularization_strength": NOT_NEGATIVE,
            "l2_regularization_strength": NOT_NEGATIVE,
            "l2_shrinkage_regularization_strength": NOT_NEGATIVE,
            "beta": NOT_NEGATIVE,
        },
    ),
    "muon": Entry(
        KERAS,
        "Muon",
        "Momentum made orthogonal for matrices, Adam for all else.",
        "Dense layers trained for long; not convolutions.",
        {
            **{f"adam_{name}": rule for name, rule in _BETAS.items() if name != "epsilon"},
            "adam_weight_decay": optional(NOT_NEGATIVE),
            "epsilon": ABOVE_ZERO,
            "exclude_layers": optional(PATTERNS),
            "exclude_embeddings": FLAG,
            "muon_a": NUMBER,
            "muon_b": NUMBER,
            "muon_c": NUMBER,
            "adam_lr_ratio": ABOVE_ZERO,
            "momentum": BELOW_ONE,
            "ns_steps": AT_LEAST_ONE,
            "nesterov": FLAG,
            "rms_rate": optional(ABOVE_ZERO),
        },
    ),
    "schedule-free-adamw": Entry(
        KERAS,
        "ScheduleFreeAdamW",
        "AdamW that averages its weights in the place of a schedule.",
        "The number of steps is not known before. Keras saves the point it trains at, not the average.",
        {**_BETAS, "beta_1": INSIDE, "warmup_steps": COUNT},
    ),
    "lbfgs": Entry(
        "tltool.optimizers.lbfgs",
        "LBFGS",
        "Curvature from the last gradients, and a line search: no rate to choose.",
        "The whole set in every step is affordable, and nothing is random: heads on cached features.",
        {"memory": AT_LEAST_ONE, "max_iterations": AT_LEAST_ONE, "tolerance": ABOVE_ZERO},
        full_batch=True,
    ),
    "newton-cg": Entry(
        "tltool.optimizers.newton_cg",
        "NewtonCG",
        "Newton's step, solved by products with the Hessian.",
        "As L-BFGS, where the curvature is bad and a few exact steps are worth their price.",
        {"max_iterations": AT_LEAST_ONE, "tolerance": ABOVE_ZERO},
        full_batch=True,
    ),
}


def names() -> tuple[str, ...]:
    """The names that `get` takes, in the order of the lecture."""
    return tuple(OPTIMIZERS)


def find(name: str) -> tuple[str, Entry]:
    """The entry of a name, written with dashes, underscores or neither, large or small.

    Raises:
        OptimizerError: if there is none.
    """
    for known, entry in OPTIMIZERS.items():
        if _plain(known) == _plain(name):
            return known, entry
    raise OptimizerError(
        f"No optimizer is called '{name}'.{suggestion(name, OPTIMIZERS)} There are {', '.join(names())}."
    )


def check_optimizer_arguments(name: str, arguments: Mapping[str, Any]) -> None:
    """Checks the arguments of an optimizer other than its rate.

    Raises:
        OptimizerError: listing every fault, or where there is no such optimizer.
    """
    known, entry = find(name)
    check_arguments(known, arguments, rules_of(entry))
    if sum(arguments.get(clip) is not None for clip in ("clipnorm", "clipvalue", "global_clipnorm")) > 1:
        raise OptimizerError(f"{known}: give one of `clipnorm`, `clipvalue` and `global_clipnorm`, not several.")


def rules_of(entry: Entry) -> Mapping[str, Rule]:
    """All arguments that it takes besides its rate."""
    return entry.rules if entry.full_batch else {**entry.rules, **COMMON}


def check_rate(owner: str, rate: Any) -> None:
    """Checks a rate that is a number; a schedule or another callable passes.

    Raises:
        OptimizerError: if it is a number of 0 or below, or none at all.
    """
    if not callable(rate) and not ABOVE_ZERO.holds(rate):
        raise OptimizerError(
            f"{owner}: `learning_rate` = {rate!r}: must be a number above 0 or a schedule. Usual: 0.1 to 0.00001."
        )


def get(
    identifier: "str | Mapping[str, Any] | keras.optimizers.Optimizer", **arguments: Any
) -> "keras.optimizers.Optimizer | LBFGS | NewtonCG":
    """An optimizer by name.

    Args:
        identifier: One of `names()`; or an optimizer's serialized configuration; or an optimizer, which comes back.
        **arguments: `learning_rate` (above 0, or a schedule) and what else the optimizer takes; with a name alone.

    Returns:
        A Keras optimizer; for "lbfgs" and "newton-cg" a full-batch one, which has no rate.

    Raises:
        OptimizerError: naming every argument that is wrong, and the right ones.
    """
    if not isinstance(identifier, str):
        return _made_already(identifier, arguments)
    name, entry = find(identifier)
    rest = dict(arguments)
    rate = None if entry.full_batch else rest.pop("learning_rate", None)
    check_optimizer_arguments(name, rest)
    if rate is not None:
        check_rate(name, rate)
        rest["learning_rate"] = rate
    module = importlib.import_module(entry.home)
    if not hasattr(module, entry.class_name):
        raise OptimizerError(f"{name}: this Keras has no {entry.class_name}. A newer one has: pip install -U keras.")
    maker, given = getattr(module, entry.class_name), {**entry.preset, **rest}
    for key, parameter in inspect.signature(maker).parameters.items():
        # Keras takes no whole number for some of its numbers, such as `momentum`.
        if isinstance(parameter.default, float) and isinstance(given.get(key), int):
            given[key] = float(given[key])
        # Those that decay by default take a number for none.
        if key == "weight_decay" and parameter.default is not None and key in given:
            given[key] = given[key] or 0.0
    return maker(**given)


def _made_already(identifier: Any, arguments: Mapping[str, Any]) -> "keras.optimizers.Optimizer":
    if arguments:
        raise OptimizerError(f"This optimizer has its arguments already; {', '.join(arguments)} cannot be set here.")
    import keras

    optimizer = identifier
    if isinstance(identifier, Mapping):
        try:
            # Not keras.optimizers.get, which does not know all of Keras's own: Lamb is missing in 3.15.
            optimizer = keras.saving.deserialize_keras_object(dict(identifier))
        except (KeyError, TypeError, ValueError) as error:
            raise OptimizerError(f"Not an optimizer's configuration: {str(error).splitlines()[0]}") from None
    if isinstance(optimizer, keras.optimizers.Optimizer):
        return optimizer
    raise OptimizerError(
        f"{identifier!r} is no optimizer. Give one, its configuration, or one of {', '.join(OPTIMIZERS)}."
    )


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
