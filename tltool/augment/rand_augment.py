"""What RandAugment, TrivialAugment and AugMix draw: operations and how strongly each is done, one picture at a time.

Drawn in NumPy on the host, as arrays of a fixed shape, so that they can be given to a compiled graph.
`chosen_operations` does them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from tltool.errors import AugmentError

OPERATIONS = (
    *("identity", "autocontrast", "equalize", "posterize", "solarize"),
    *("color", "contrast", "brightness", "sharpness"),
    *("rotate", "shear_x", "shear_y", "translate_x", "translate_y"),
)
STRONGEST = 30.0  # magnitudes are counted up to it since Cubuk et al., 2020


class Span(NamedTuple):
    """What magnitudes mean to an operation.

    Attributes:
        neutral: Its parameter at magnitude 0.
        change: What the strongest magnitude adds to it.
        either_way: Whether it is as often taken away.
    """

    neutral: float
    change: float
    either_way: bool = False


Spans = Mapping[str, Span]


def _spans(
    rotate: float, shear: float, translate: float, enhance: float, bits: tuple[int, int], names: tuple[str, ...]
) -> Spans:
    both = {
        "rotate": Span(0.0, rotate, True),
        **dict.fromkeys(("shear_x", "shear_y"), Span(0.0, shear, True)),
        **dict.fromkeys(("translate_x", "translate_y"), Span(0.0, translate, True)),
        **dict.fromkeys(("color", "contrast", "brightness", "sharpness"), Span(1.0, enhance, True)),
        "posterize": Span(bits[0], bits[1] - bits[0]),
        "solarize": Span(256.0, -256.0),
    }
    return MappingProxyType({name: both.get(name, Span(0.0, 0.0)) for name in names})


# Rotations in degrees, shears as tangents, translations as shares of the side, factors about 1, bits from weak to
# strong. AutoAugment's ranges, its 150 of 331 pixels as a share (Cubuk et al., 2019). Its factors run from 0.1
# at magnitude 0 to 1.9, with nothing changed half-way; here they leave 1 either way, as implementations since then do.
RAND_AUGMENT = _spans(30, 0.3, 150 / 331, 0.9, (8, 4), OPERATIONS)
# The "wide" space of Müller and Hutter, 2021; its 32 pixels as a share of 224.
TRIVIAL_AUGMENT = _spans(135, 0.99, 32 / 224, 0.99, (8, 2), OPERATIONS)
# As in the authors' code (Hendrycks et al., 2020). Without contrast, brightness, colour and sharpness: when robustness
# is measured, networks are tested with these. 1 bit instead of none: that picture would be black.
AUG_MIX = _spans(
    *(30, 0.3, 1 / 3, 0, (4, 1)),
    names=tuple(name for name in OPERATIONS[1:] if name not in ("color", "contrast", "brightness", "sharpness")),
)
WEAKEST_OF_AUG_MIX = 0.3  # of 30; 0.1 of 10 in the authors' code


class Chosen(NamedTuple):
    """Operations of one picture, done after each other.

    Attributes:
        operations: Positions in `OPERATIONS`, shape (layers,), int32.
        magnitudes: The parameter of each, shape (layers,), float32: degrees, tangents, shares of the side, factors,
            bits or thresholds, with their sign. 0 where an operation takes none.
    """

    operations: np.ndarray
    magnitudes: np.ndarray


def draw_rand_augment(random: np.random.Generator, layers: int, magnitude: float) -> Chosen:
    """Operations, each as likely, all of one magnitude; those with two directions go either way.

    Args:
        random: The source of all draws.
        layers: Operations, >= 1.
        magnitude: In [0, 30]; 30 is the strongest.

    Raises:
        AugmentError: if a number is out of range.

    Reference: Cubuk et al., 2020, "RandAugment: practical automated data augmentation with a reduced search space",
    section 3.
    """
    _check_count("rand_augment.layers", layers)
    _check_strength("rand_augment", magnitude)
    return _drawn(random, RAND_AUGMENT, np.full(layers, magnitude / STRONGEST))


def draw_trivial_augment(random: np.random.Generator) -> Chosen:
    """One operation of any magnitude, in wide ranges.

    Reference: Müller and Hutter, 2021, "TrivialAugment: tuning-free yet state-of-the-art data augmentation", section 3.
    """
    return _drawn(random, TRIVIAL_AUGMENT, random.integers(0, STRONGEST, 1, endpoint=True) / STRONGEST)


class Mixture(NamedTuple):
    """Chains of operations of one picture, and how much of the result each is.

    Attributes:
        operations: Positions in `OPERATIONS`, shape (chains, depth), int32; short chains end in "identity".
        magnitudes: The parameter of each, shape (chains, depth), float32.
        shares: Of the picture itself, then of each chain, shape (1 + chains,), float32, adding up to 1.
    """

    operations: np.ndarray
    magnitudes: np.ndarray
    shares: np.ndarray


def draw_aug_mix(
    random: np.random.Generator, severity: float, chains: int = 3, depth: int = 3, alpha: float = 1.0
) -> Mixture:
    """Chains of operations, their weights from a Dirichlet distribution and the picture's own from a Beta distribution.

    Args:
        random: The source of all draws.
        severity: Largest magnitude of an operation, in [0, 30]; the authors take 3 of 10, which is 9 here.
        chains: Mixed with each other, >= 1.
        depth: Longest chain, >= 1; each has 1 to `depth` operations.
        alpha: Of both distributions, > 0.

    Raises:
        AugmentError: if a number is out of range.

    Reference: Hendrycks et al., 2020, "AugMix: a simple data processing method to improve robustness and uncertainty",
    algorithm 1.
    """
    _check_strength("aug_mix", severity)
    _check_count("aug_mix.chains", chains)
    _check_count("aug_mix.depth", depth)
    if not alpha > 0:
        raise AugmentError(f"`aug_mix.alpha` = {alpha:g}: must be above 0; 1 makes all shares as likely.")
    weights = random.dirichlet(np.full(chains, alpha))
    own = random.beta(alpha, alpha)
    lengths = random.integers(1, depth, (chains, 1), endpoint=True)
    strengths = random.uniform(min(WEAKEST_OF_AUG_MIX, severity), severity, chains * depth) / STRONGEST
    drawn = _drawn(random, AUG_MIX, strengths)
    done = np.arange(depth) < lengths
    return Mixture(
        np.where(done, drawn.operations.reshape(chains, depth), OPERATIONS.index("identity")).astype(np.int32),
        np.where(done, drawn.magnitudes.reshape(chains, depth), 0).astype(np.float32),
        np.append(own, (1 - own) * weights).astype(np.float32),
    )


def _drawn(random: np.random.Generator, spans: Spans, strengths: np.ndarray) -> Chosen:
    """An operation for each strength, in [0, 1]."""
    names = [list(spans)[place] for place in random.integers(len(spans), size=len(strengths))]
    signs = random.choice([-1.0, 1.0], len(strengths))
    magnitudes = []
    for name, sign, strength in zip(names, signs, strengths, strict=True):
        span = spans[name]
        value = span.neutral + (sign if span.either_way else 1.0) * strength * span.change
        magnitudes.append(round(value) if name == "posterize" else value)
    return Chosen(
        np.array([OPERATIONS.index(name) for name in names], np.int32),
        np.array(magnitudes, np.float32),
    )


def _check_strength(name: str, value: float) -> None:
    if not 0 <= value <= STRONGEST:
        raise AugmentError(f"`{name}` = {value:g}: must be from 0 to {STRONGEST:g}, the strongest.")


def _check_count(name: str, value: int) -> None:
    if value != int(value) or value < 1:
        raise AugmentError(f"`{name}` = {value:g}: must be a whole number, 1 or above.")
