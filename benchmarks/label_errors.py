"""Claim: of labels swapped at random, at least 60 % are among the tenth that the doctor suspects most.

Swaps 5 % of the training labels of each set, with several seeds, and lets the doctor rank all of them. Prints for each
set the share of swapped labels in the top tenth, how many of the flagged ones were swapped, and the share that is
flagged where nothing was swapped.

    python benchmarks/label_errors.py [FOLDER OF IMAGE SETS]
"""

import dataclasses
import os
import tempfile

import numpy as np
from contest import image_sets, print_setting

from tltool.backbones import load_backbone
from tltool.cache import VARIABLE as CACHE
from tltool.data import Dataset, load_dataset
from tltool.doctor.by_features import out_of_fold
from tltool.doctor.suspects import suspected_labels
from tltool.features.extract import extract

SETS = ("flowers", "chest_xray", "hymenoptera", "cats_dogs", "trashnet", "weather", "rsscn7_aerial", "ham10000_skin")
CLAIMED = ("flowers", "chest_xray")
SWAPPED, SUSPECTED, AT_LEAST = 0.05, 0.10, 0.60
SEEDS = range(5)


def main() -> None:
    print_setting()
    print(f"seeds {SEEDS.start} to {SEEDS.stop - 1}")
    shares = {}
    with tempfile.TemporaryDirectory() as cache:
        os.environ[CACHE] = cache
        backbone = load_backbone("efficientnet_lite0")
        for name in SETS:
            data = load_dataset(image_sets() / name)
            kept = data.indices("train", "valid")
            data = dataclasses.replace(
                data,
                **{
                    field: tuple(getattr(data, field)[i] for i in kept)
                    for field in ("files", "labels", "parts", "given", "groups")
                },
            )
            features = extract(backbone, data.root, data.files)
            found, right, flagged = [], [], []
            for seed in SEEDS:
                wrong, swapped = swap(data, seed)
                labels = wrong.labels_of(range(len(wrong)))
                suspects = suspected_labels(out_of_fold(wrong, features, seed), labels)
                top = suspects.order[: round(SUSPECTED * len(wrong))]
                found.append(np.isin(swapped, top).mean())
                right.append(np.isin(suspects.flagged, swapped).sum())
                flagged.append(len(suspects.flagged))
            clean = suspected_labels(out_of_fold(data, features, 0), data.labels_of(range(len(data))))
            shares[name] = float(np.mean(found))
            print(
                f"{name}: {shares[name]:.0%} of swapped labels in the top tenth, {min(found):.0%} to {max(found):.0%}; "
                f"{sum(right)} of {sum(flagged)} flagged were swapped, out of {len(SEEDS) * len(swapped)}; "
                f"{len(clean.flagged) / len(data):.1%} flagged where none was swapped"
            )
    print(", ".join(f"{name} {shares[name]:.0%}" for name in CLAIMED), f"(at least {AT_LEAST:.0%})")


def swap(data: Dataset, seed: int) -> tuple[Dataset, np.ndarray]:
    """The data set with some labels replaced by another class, and their positions."""
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(data))[: round(SWAPPED * len(data))]
    labels = list(data.labels)
    for index in chosen:
        labels[index] = ((labels[index][0] + int(random.integers(1, len(data.class_names)))) % len(data.class_names),)
    return dataclasses.replace(data, labels=tuple(labels)), chosen


if __name__ == "__main__":
    main()
