"""A probe on the features of several backbones, solved and saved as one model."""

from collections.abc import Sequence

from tltool.backbones import Backbone
from tltool.data import Dataset
from tltool.features.extract import FeatureTable
from tltool.recipes import Recipe
from tltool.training.events import EventLog
from tltool.training.held_out import HeldOut
from tltool.training.joined import joined_model
from tltool.training.probes import Probes
from tltool.training.run_folder import RunFolder
from tltool.training.train import Trained, calibrated, check_model, save_model, threshold_of


def train_joined(
    recipe: Recipe,
    backbones: Sequence[Backbone],
    data: Dataset,
    features: FeatureTable,
    folder: RunFolder,
    seed: int,
    events: EventLog,
) -> Trained:
    """Solves, calibrates and saves it; it takes seconds, so that there is nothing to go on from.

    Args:
        recipe: Without stages of fine-tuning.
        backbones: Of different names, in the recipe's order; they stay as they are.
        data: One row of `features` a file.
        features: From `joined_table`.
        folder: Gets the model.
        seed: Of folds.
        events: Told of everything.
    """
    first, *others = backbones
    probes = Probes(recipe, first, data, features, (), seed, events, others)
    spec, rows = probes.spec, data.indices("train", "valid")
    head = probes.solve(rows)
    events.emit("stage", text="Calibrating")
    held_out = HeldOut("cross-validation", rows, data.labels_of(rows), probes.held_out_logits(head, rows))
    temperature, held_out, head = calibrated(held_out, head, seed, events)
    model = joined_model(backbones, spec.stages, spec.pooling, head, multi_label=data.multi_label)
    check_model(model, spec, head, data, features)
    save_model(model, folder)
    return Trained(recipe, model, head, spec, head.l2, None, temperature, held_out, threshold_of(held_out))
