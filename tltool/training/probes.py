"""Linear heads of one recipe, on some of the pictures or on others."""

from collections.abc import Sequence

import numpy as np

from tltool.augment.policies import read_policy
from tltool.backbones import Backbone
from tltool.data import Dataset
from tltool.errors import DataError
from tltool.features.extract import FeatureTable, extract
from tltool.features.taps import extra_poolings
from tltool.heads.cross_validation import out_of_fold_logits
from tltool.heads.logistic import LinearHead
from tltool.heads.temperature import CALIBRATION_FOLDS, CALIBRATION_PICTURES, CALIBRATION_SHUFFLES
from tltool.inspection.baselines import Baseline
from tltool.recipes import Recipe
from tltool.training.augmented import augmented_view
from tltool.training.events import EventLog
from tltool.training.probe import probe_problem, probe_spec, solve_probe


class Probes:
    """Linear heads of one recipe, on some of the pictures or on others."""

    def __init__(
        self,
        recipe: Recipe,
        backbone: Backbone,
        data: Dataset,
        features: FeatureTable,
        baselines: tuple[Baseline, ...],
        seed: int,
        events: EventLog,
        others: Sequence[Backbone] = (),
    ):
        self.spec = probe_spec(recipe, backbone, others)
        self._recipe, self._backbone, self._data, self._features = recipe.head, backbone, data, features
        self._baselines, self._seed, self._events = baselines, seed, events

    def solve(self, rows: np.ndarray) -> LinearHead:
        """The head that learns from these pictures, its ridge strength chosen by cross-validation."""
        tried = (b.validation for b in self._baselines if b.spec == self.spec and b.pictures == len(rows))
        known = None if self._recipe.views else next(tried, None)
        self._events.emit("stage", text=f"Solving the linear head on {len(rows)} pictures")
        labels, groups = self._data.labels_of(rows), self._data.together_of(rows)
        given = self.spec, self._features, rows, labels, len(self._data.class_names), self._seed
        return solve_probe(*given, known, self._events.report, groups, self._views(rows))[0]

    def held_out_logits(self, head: LinearHead, rows: np.ndarray) -> np.ndarray:
        """What heads like this one say of each of these pictures when they have not learned from it.

        Returns:
            Logits of several shuffles, shape (S, N, classes); NaN for pictures that were never held out.
        """
        labels, groups, views = self._data.labels_of(rows), self._data.together_of(rows), self._views(rows)
        problem = probe_problem(self.spec, self._features, rows, labels, len(self._data.class_names), views)
        # Where not all are held out, each shuffle would hold out others, and only those of all would count.
        shuffles = CALIBRATION_SHUFFLES if len(rows) <= CALIBRATION_PICTURES else 1
        found = []
        for shuffle in range(shuffles):
            self._events.report("Calibrating", shuffle, shuffles)
            drawn = CALIBRATION_FOLDS, self._seed + shuffle
            found.append(out_of_fold_logits(problem, head.l2, *drawn, groups, len(views), CALIBRATION_PICTURES))
        self._events.report("Calibrating", shuffles, shuffles)
        return np.stack(found)

    def _views(self, rows: np.ndarray) -> list[FeatureTable]:
        """Features of the recipe's augmented views of these pictures."""
        if not self._recipe.views:
            return []
        data = self._data
        files, keys = [data.files[i] for i in rows], [self._features.keys[i] for i in rows]
        policy = read_policy(self._recipe.augmentation).per_picture
        tables, extra = [], extra_poolings(self._recipe.pooling)
        for number in range(self._recipe.views):
            view = augmented_view(policy, self._seed, number)
            table = extract(self._backbone, data.root, files, self._events.report, keys, view, extra)
            if table.problems:
                raise DataError(f"{data.source}: changed while it was being read: {table.problems[0]}. Start again.")
            tables.append(table)
        return tables
