"""Several pretrained networks under one linear head: their features side by side, and the classifier of them all."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import keras
import numpy as np

from tltool.backbones import Backbone
from tltool.errors import ShapeError, TltoolError
from tltool.features.extract import FeatureTable
from tltool.features.taps import TapLayout, pooled
from tltool.heads.logistic import LinearHead
from tltool.heads.network import LOGITS, PROBABILITIES, picture_model
from tltool.training.merged_graph import merged


def joined_stage(backbone: str, stage: str) -> str:
    """What a stage is called beside those of other backbones."""
    return f"{backbone}/{stage}"


def joined_table(tables: Mapping[str, FeatureTable]) -> FeatureTable:
    """Features of the same pictures from several backbones, side by side.

    A probe reads them like those of one backbone: its solver standardizes every column, so that no backbone outweighs
    another by the scale of its features. What the stages are called says `joined_stage`.

    Args:
        tables: By the backbone's name, at least one.

    Returns:
        A row a picture that every backbone could read; `confidence` is that of the first backbone.

    Raises:
        ShapeError: if there is none, or they are of different pictures.
    """
    if not tables:
        raise ShapeError("There are no features to join.")
    common = set.intersection(*(set(table.indices.tolist()) for table in tables.values()))
    kept = {name: table.take(_rows_of(table, common)) for name, table in tables.items()}
    (first_name, first), *others = kept.items()
    for name, table in others:
        if table.keys != first.keys:
            raise ShapeError(f"The features of {first_name} and of {name} are of different pictures, and join nothing.")
    return replace(
        first,
        values=np.concatenate([table.values for table in kept.values()], axis=1),
        layout=TapLayout(
            tuple(
                (joined_stage(name, stage), pooling, count)
                for name, table in kept.items()
                for stage, pooling, count in table.layout.columns
            )
        ),
        problems=tuple(dict.fromkeys(problem for table in tables.values() for problem in table.problems)),
    )


def joined_model(
    backbones: Sequence[Backbone],
    stages: Sequence[str],
    poolings: Sequence[str],
    head: LinearHead,
    *,
    multi_label: bool = False,
) -> keras.Model:
    """The picture model of several backbones: one picture in, made ready for each backbone as that one takes it.

    Args:
        backbones: Of different names, in the order of the tables that were joined; their weights are copied.
        stages: Names as `joined_stage` gives them, those that the head reads.
        poolings: Of the stages.
        head: Solved on `joined_table(...).select(stages, poolings)`.
        multi_label: Whether each class has a probability of its own.

    Returns:
        A flat model from RGB pictures, shape (N, height, width, 3), uint8, to probabilities, shape (N, classes). What
        all backbones have in common, such as the resizing to one size, is computed once.

    Raises:
        TltoolError: if two backbones have one name.
        ShapeError: if the head reads another number of features.
    """
    names = [backbone.name for backbone in backbones]
    if len(set(names)) < len(names):
        raise TltoolError(f"Joined backbones must differ; given: {', '.join(names)}. Name each once.")
    readers = []
    for backbone in backbones:
        wanted = [stage for stage in backbone.stage_names if joined_stage(backbone.name, stage) in stages]
        if wanted:
            features = keras.Model(backbone.network.input, pooled(backbone, wanted, poolings), name=backbone.name)
            readers.append(_before(PROBABILITIES, picture_model(features, backbone.framing)))
    together = merged(readers, taken={LOGITS, PROBABILITIES, "joined"})
    features = together.outputs[0]
    if len(readers) > 1:
        features = keras.layers.Concatenate(name="joined")(together.outputs)
    if features.shape[-1] != len(head.kernel):
        raise ShapeError(f"A head for {len(head.kernel)} features on {features.shape[-1]}.")
    dense = keras.layers.Dense(head.kernel.shape[1], name=LOGITS)
    logits = dense(features)
    dense.set_weights([head.kernel, head.bias])
    if multi_label:
        link = keras.layers.Activation("sigmoid", name=PROBABILITIES)
    else:
        link = keras.layers.Softmax(name=PROBABILITIES)
    return keras.Model(together.input, link(logits), name="_and_".join(names))


def _rows_of(table: FeatureTable, pictures: set[int]) -> np.ndarray:
    return np.flatnonzero([index in pictures for index in table.indices.tolist()])


def _before(layer: str, model: keras.Model) -> keras.Model:
    """The model up to what this layer reads."""
    return keras.Model(model.input, model.get_layer(layer).input)
