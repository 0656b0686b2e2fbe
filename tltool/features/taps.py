"""Which numbers are read off a backbone: each stage's feature map, pooled over space."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tltool.backbones import Backbone
from tltool.errors import TltoolError

Pooling = Literal["mean", "std", "fractional-max"]
POOLINGS: tuple[Pooling, ...] = ("mean", "std")  # read off every picture
EXTRA_POOLINGS: tuple[Pooling, ...] = ("fractional-max",)  # read where a recipe asks for it: it costs a fifth more
FRACTION = 2**0.5  # of a side, twice after each other: what is left of a map is a quarter of its area
VARIANCE_FLOOR = 1e-6  # under the square root: a constant channel would otherwise have an infinite gradient


@dataclass(frozen=True)
class TapLayout:
    """Which columns of a feature vector hold which pooled stage.

    Attributes:
        columns: For each (stage, pooling), in the order of the vector, how many numbers there are.
    """

    columns: tuple[tuple[str, str, int], ...]

    @property
    def width(self) -> int:
        return sum(count for _, _, count in self.columns)

    def select(self, stages: Sequence[str], poolings: Sequence[str]) -> np.ndarray:
        """Positions of these stages under these poolings, in the order in which `pooled` concatenates them.

        Raises:
            TltoolError: if features were read without one of the poolings.
        """
        absent = set(poolings) - {pooling for _, pooling, _ in self.columns}
        if absent:
            raise TltoolError(f"The features were read without the pooling '{min(absent)}'. Read them with it.")
        positions, start = [], 0
        for stage, pooling, count in self.columns:
            if stage in stages and pooling in poolings:
                positions.append(np.arange(start, start + count))
            start += count
        return np.concatenate(positions)


def tap_layout(backbone: Backbone, extra: Sequence[str] = ()) -> TapLayout:
    """All stages under all poolings.

    Args:
        backbone: Has the stages.
        extra: Of `EXTRA_POOLINGS`, beside those that are always there.
    """
    return TapLayout(
        tuple(
            (
                stage.name,
                pooling,
                backbone.channels(stage.name) * (2 if pooling == "mean" and backbone.extra_tokens else 1),
            )
            for stage in backbone.stages
            for pooling in (*POOLINGS, *extra)
        )
    )


def extra_poolings(poolings: Sequence[str]) -> tuple[str, ...]:
    """Those that features hold only where they are asked for."""
    return tuple(pooling for pooling in EXTRA_POOLINGS if pooling in poolings)


def resolve_taps(backbone: Backbone, taps: str | Sequence[str]) -> tuple[str, ...]:
    """Stage names from "last", "all" or a list of names, from the picture to the top.

    Raises:
        TltoolError: if the backbone has no such stage.
    """
    names = backbone.stage_names
    if taps == "all":
        return names
    wanted = {names[-1]} if taps == "last" else {backbone.stage(name).name for name in taps}
    return tuple(name for name in names if name in wanted)


def pooled(backbone: Backbone, stages: Sequence[str], poolings: Sequence[str]):
    """The pooled stages of the backbone as one symbolic tensor, shape (N, columns).

    Of a transformer's stage "mean" is that of its patches, and its class token after that.
    """
    import keras

    parts = []
    for stage in backbone.stages:
        if stage.name not in stages:
            continue
        feature_map = backbone.feature_map(stage.name)
        if "mean" in poolings:
            parts.append(keras.layers.GlobalAveragePooling2D(name=f"{stage.name}_mean")(feature_map))
            if (token := backbone.class_token(stage.name)) is not None:
                parts.append(token)
        if "std" in poolings:
            parts.append(_deviation(feature_map))
        if "fractional-max" in poolings:
            parts.append(keras.layers.GlobalAveragePooling2D(name=f"{stage.name}_fractional")(_halved(feature_map)))
    return parts[0] if len(parts) == 1 else keras.layers.Concatenate(name="features")(parts)


def _halved(feature_map):
    from tltool.layers.fractional_max_pooling import fixed_fractional_pool

    return fixed_fractional_pool(fixed_fractional_pool(feature_map, FRACTION), FRACTION)


def _deviation(feature_map):
    from keras import ops

    # Not E[x^2] - E[x]^2, which cancels where a channel is nearly constant and is rounded differently by every engine.
    return ops.sqrt(ops.var(feature_map, axis=(1, 2)) + VARIANCE_FLOOR)
