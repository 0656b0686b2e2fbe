"""Claim: three fine-tuned runs averaged have a lower log loss than the best of them alone.

Beside them, on the same pictures: the averages inside one run (ema, swa, snapshots), the soup of the three runs, and a
probe on the joined features of two backbones. Few small characters and few epochs, so that all of it takes minutes on
two cores; the order of the rows is that of this one set and these seeds.

    python benchmarks/averages.py [FOLDER OF IMAGE SETS]
"""

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from contest import image_sets, print_setting

import tltool as tl
from tltool.data.decoding import decode
from tltool.ensembles.price import Price, price_of, table_of

SET = "kmnist_test"
TRAIN, TEST = 60, 40  # pictures a class
SEEDS = (0, 1, 2)
EPOCHS = 16
SIZE = 64  # pixels
TOP = {
    "image_size": SIZE,
    "stages.top.trainable": "top:4",
    "stages.top.epochs": EPOCHS,
    "stages.top.patience": EPOCHS,
    "stages.top.learning_rate": 0.001,
    "stages.top.augmentation": "none",
}
WAYS = {
    "ema": {"stages.top.average": "ema", "stages.top.schedule": "constant"},
    "swa": {"stages.top.average": "swa", "stages.top.schedule": "constant"},
    "snapshots": {
        "stages.top.snapshots": 3,
        "stages.top.schedule": "restarts",
        "stages.top.schedule_arguments": "{ growth = 1.0 }",
    },
}


def main() -> None:
    folder = image_sets()
    print_setting()
    with tempfile.TemporaryDirectory() as scratch:
        data = tl.load_dataset(draw(folder / SET, Path(scratch, "pictures")), 0)

        def fit(name: str, recipe: str, settings: dict, seed: int = 0) -> tl.Run:
            given = [f"{key}={value}" for key, value in settings.items()]
            run = tl.fit(data, recipe, out=Path(scratch, name), settings=given, seed=seed)
            for average in () if run.tuning is None else run.tuning.averages:
                print(f"    {average.in_words(run.tuning.choose_by)}", file=sys.stderr)
            print(f"    {name}: {run.metrics}, {run.seconds:.0f} s", file=sys.stderr, flush=True)
            return run

        runs = {"linear probe": fit("probe", "linear-probe", {"image_size": SIZE})}
        runs["joined probe"] = fit("joined", "joined-probe", {"image_size": SIZE})
        members = [fit(f"seed {seed}", "finetune-top", TOP, seed) for seed in SEEDS]
        runs |= {run.path.name: run for run in members}
        runs |= {name: fit(name, "finetune-top", TOP | way) for name, way in WAYS.items()}
        soup = tl.ensemble(members, kind="soup", out=Path(scratch, "soup"))
        average = tl.ensemble(members, out=Path(scratch, "average"))
        runs |= {f"soup of {len(soup.chosen)} of {len(SEEDS)}": soup.run, f"mean of {len(SEEDS)} seeds": average.run}
        picture = decode(data.paths[data.indices("test")[0]])
        prices = [price(name, run, picture) for name, run in runs.items()]
        print(f"{SET}, {TRAIN} + {TEST} pictures a class, {SIZE} pixels, {EPOCHS} epochs of top:4")
        print(table_of(prices, "top-1"))
        print(average.in_words())
        best = min(each.log_loss for each in average.members)
        ratio = average.whole.log_loss / best
        verdict = "holds" if ratio < 1 else "does not hold"
        print(f"log loss of the mean over that of its best member: {ratio:.2f}; the claim {verdict}")


def draw(source: Path, target: Path) -> Path:
    """The first pictures of each class, in parts of their own."""
    for part, count in (("train", TRAIN), ("test", TEST)):
        for folder in sorted((source / part).iterdir()):
            (target / part / folder.name).mkdir(parents=True)
            for file in sorted(folder.iterdir())[:count]:
                shutil.copy(file, target / part / folder.name)
    return target


def price(name: str, run: tl.Run, picture: np.ndarray) -> Price:
    return price_of(name, run.metrics, run.seconds, run.folder.model, run.model, picture)


if __name__ == "__main__":
    main()
