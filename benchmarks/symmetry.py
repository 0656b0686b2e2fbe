"""Claim: cached features tell which flips an image set bears, as a person would, and the augmentation follows from it.

Prints for each set, on up to 100 training pictures a class, what a linear head loses of what it knows when pictures are
mirrored, upside down or turned by a quarter, the share of flipped pictures that are told from clean ones, and the
policy; the baseline mirrors everything, as most recipes do.

    python benchmarks/symmetry.py [FOLDER OF IMAGE SETS]
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from contest import image_sets, print_setting
from PIL import Image
from sklearn.datasets import load_digits

from tltool.backbones import load_backbone
from tltool.carry_out import inspect_similarity
from tltool.data import Dataset, load_dataset
from tltool.decision import judge_similarity, judge_size, pick_augmentation
from tltool.features.extract import extract
from tltool.inspection.baselines import measure_baselines
from tltool.inspection.flips import FLIP_LIMITS, changed_classes, judge_way
from tltool.inspection.orientation import Orientation
from tltool.inspection.size import measure_size
from tltool.inspection.symmetry import measure_symmetry
from tltool.recipes import load_recipe
from tltool.training.probe import probe_spec

# How a person would turn them; of flowers, insects and rubbish, which are often seen from above, either will do.
WAYS = {
    "digits": {"one way"},
    "kmnist_test": {"one way"},
    "chest_xray": {"one way"},
    "fashion_mnist": {"upright"},
    "cats_dogs": {"upright"},
    "weather": {"upright"},
    "flowers": {"upright", "any way"},
    "hymenoptera": {"upright", "any way"},
    "trashnet": {"upright", "any way"},
    "rsscn7_aerial": {"any way"},
    "ham10000_skin": {"any way"},
}
A_CLASS = 100


def main() -> None:
    folder = image_sets()
    print_setting()
    backbone = load_backbone("efficientnet_lite0")
    spec = probe_spec(load_recipe("stage-probe"), backbone)
    right = mirroring = 0
    print("share lost ± standard error, share told; * for single classes that are no longer found")
    heads = " ".join(f"{name.replace('_', ' '):^22}" for name in FLIP_LIMITS)
    print(f"{'set':14} {heads}  way      policy                 a person    s")
    with tempfile.TemporaryDirectory() as temporary:
        for name, accepted in WAYS.items():
            whole = load_dataset(write_digits(Path(temporary)) if name == "digits" else folder / name)
            data = at_most(whole, A_CLASS)
            features = extract(backbone, data.root, data.files)
            rows = data.indices("train", "valid")
            labels, groups = data.labels_of(rows), data.together_of(rows)
            baselines = measure_baselines(features, rows, labels, len(data.class_names), [spec], 0, groups=groups)
            start = time.perf_counter()
            symmetry = measure_symmetry(backbone, data, features, baselines)
            seconds = time.perf_counter() - start
            way = judge_way(symmetry)
            shown = " ".join(in_short(getattr(symmetry, flip)) for flip in FLIP_LIMITS)
            amount, kinship = judge_size(measure_size(whole)), judge_similarity(inspect_similarity(data, backbone))
            policy = pick_augmentation(symmetry, amount, kinship)
            person = "agrees" if way in accepted else f"no: {' or '.join(sorted(accepted))}"
            print(f"{name:14} {shown}  {way:8} {policy:22} {person:9} {seconds:4.1f}", flush=True)
            right += way in accepted
            mirroring += "one way" not in accepted
    print(f"as a person says: {right} of {len(WAYS)}; mirroring everything: {mirroring} of {len(WAYS)}")


def in_short(flip: Orientation) -> str:
    lost = "unknown" if flip.lost is None else f"{flip.lost:7.1%} ±{flip.error:6.1%}"
    return f"{lost:16} {flip.told_apart:.2f}{'*' if changed_classes(flip) else ' '}"


def write_digits(folder: Path) -> Path:
    """scikit-learn's digits, 8 x 8 pixels in 17 shades, as PNG in class folders."""
    digits = load_digits()
    for number, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / str(digit) / f"{number:04}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray((pixels * (255 / 16)).astype(np.uint8)).save(path)
    return folder


def at_most(data: Dataset, a_class: int) -> Dataset:
    """The training pictures alone, at most so many a class."""
    rows = np.random.default_rng(0).permutation(data.indices("train", "valid"))
    labels = data.labels_of(rows)
    keep = np.sort(np.concatenate([rows[labels == label][:a_class] for label in np.unique(labels)]))
    per_file = ("files", "labels", "parts", "given", "groups", "together")
    return replace(data, **{name: tuple(getattr(data, name)[i] for i in keep) for name in per_file})


if __name__ == "__main__":
    main()
