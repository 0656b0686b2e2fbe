"""What a recipe may ask of regularization, checked without Keras: recipes are read before it loads."""

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from tltool.errors import RegularizerError


@dataclass(frozen=True)
class Regularizer:
    """One entry of a stage's `regularizers`.

    Attributes:
        range: What its number must be, in words, after "must be".
        holds: Whether a number is so.
        meaning: What it does, and what the number is.
        source: Paper and section.
        random: Whether the loss of the same weights differs from look to look, which a full-batch search cannot have.
    """

    range: str
    holds: Callable[[float], bool]
    meaning: str
    source: str
    random: bool


def _strength(meaning: str, source: str) -> Regularizer:
    return Regularizer("a number, 0 or above", lambda value: value >= 0, meaning, source, random=False)


def _rate(meaning: str, source: str) -> Regularizer:
    return Regularizer("a number in [0, 1)", lambda value: 0 <= value < 1, meaning, source, random=True)


REGULARIZERS = {
    "l1": _strength(
        "adds l1 * sum |w| over the trained kernels to the loss; with l2 this is the elastic net",
        "Zou and Hastie, 2005, Regularization and variable selection via the elastic net, section 2.1",
    ),
    "l2": _strength(
        "adds l2 / 2 * sum w^2 over the trained kernels to the loss",
        "Krogh and Hertz, 1991, A simple weight decay can improve generalization, equation 3",
    ),
    "l2_sp": _strength(
        "adds l2_sp / 2 * sum (w - w0)^2, where w0 are the kernels before training: they are pulled back to them",
        "Li, Grandvalet and Davoine, 2018, Explicit inductive bias for transfer learning, section 3",
    ),
    "dropout": _rate(
        "share of the features that the head does not see",
        "Srivastava et al., 2014, Dropout: a simple way to prevent neural networks from overfitting, section 4",
    ),
    "drop_connect": _rate(
        "share of the head's weights that are dropped",
        "Wan et al., 2013, Regularization of neural networks using DropConnect, section 3",
    ),
    "stochastic_depth": _rate(
        "how often the deepest residual branch is dropped; the others linearly less",
        "Huang et al., 2016, Deep networks with stochastic depth, section 3",
    ),
    "drop_block": _rate(
        "share of the topmost feature map that is dropped, in blocks; a quarter of it one resolution below",
        "Ghiasi, Lin and Le, 2018, DropBlock: a regularization method for convolutional networks, section 3",
    ),
}
RANDOM = tuple(name for name, entry in REGULARIZERS.items() if entry.random)
OWN_KEYS = ("label_smoothing", "weight_decay")  # of a stage: the same number in two places would count twice


def check_regularizers(table: Mapping[str, Any]) -> None:
    """Checks names and numbers. A number of 0 is the same as none.

    Args:
        table: Numbers by name of `REGULARIZERS`.

    Raises:
        RegularizerError: listing every fault.
    """
    if not isinstance(table, Mapping):
        raise RegularizerError(
            f"regularizers: {table!r} is no table. Name each with a number, like {{ dropout = 0.2 }}, or {{}} for none."
        )
    faults = []
    for name, value in table.items():
        if name in OWN_KEYS:
            faults.append(f"regularizers: `{name}` is a key of the stage itself; write it there.")
        elif name not in REGULARIZERS:
            faults.append(
                f"regularizers: unknown name `{name}`.{_suggestion(name)} There are {', '.join(REGULARIZERS)}."
            )
        elif not (_number(value) and REGULARIZERS[name].holds(value)):
            faults.append(f"regularizers: `{name}` = {value!r}: must be {REGULARIZERS[name].range}.")
    if faults:
        raise RegularizerError("\n".join(faults))


def _number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _suggestion(wrong: Any) -> str:
    close = difflib.get_close_matches(str(wrong).lower().replace("-", "_"), REGULARIZERS, n=1, cutoff=0.6)
    return f" Did you mean `{close[0]}`?" if close else ""
