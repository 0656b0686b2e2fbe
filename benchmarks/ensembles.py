"""Claim: a probe on the features of Lite0 and Lite2 together is at least one point better than one on Lite0 alone.

Small image sets, train and test parts thrown together and split anew three times (60/40 by class, seeds 0 to 2), heads
on cached features, all strengths and folds of the recipe. Beside the joined features: Lite2 alone, and the mean of the
probabilities of the two separate probes. Log losses are of the same heads.

    python benchmarks/ensembles.py [FOLDER OF IMAGE SETS] [--recipe=stage-probe]
"""

import sys
import time

import numpy as np
from contest import image_sets, print_setting
from sklearn.model_selection import StratifiedShuffleSplit

from tltool.backbones import load_backbone
from tltool.data import load_dataset
from tltool.evaluation.metrics import score
from tltool.features.extract import extract
from tltool.heads.logistic import to_probabilities
from tltool.inspection.baselines import ProbeSpec
from tltool.recipes import load_recipe
from tltool.training.joined import joined_table
from tltool.training.probe import probe_spec, solve_probe

SETS = ("flowers", "trashnet", "weather", "rsscn7_aerial", "chest_xray", "ham10000_skin", "cats_dogs")
FIRST, SECOND, JOINED, AVERAGED = "lite0", "lite2", "lite0+lite2", "mean of two"
BACKBONES = {FIRST: "efficientnet_lite0", SECOND: "efficientnet_lite2"}
SPLITS = 3
TEST_SHARE = 0.4
AIM = 1.0  # points of mean accuracy


def main() -> None:
    folder = image_sets()
    print_setting()
    given = [argument.partition("=")[2] for argument in sys.argv if argument.startswith("--recipe=")]
    recipe = load_recipe(given[0] if given else "linear-probe")
    backbones = {short: load_backbone(name) for short, name in BACKBONES.items()}
    specs = {short: probe_spec(recipe, backbone) for short, backbone in backbones.items()}
    print(f"{recipe.name}, top-1 in % (log loss in nats), mean of {SPLITS} splits")
    columns = (FIRST, SECOND, JOINED, AVERAGED)
    print(f"{'set':15} {'pictures':>8} " + " ".join(f"{name:>15}" for name in columns) + "  joined - lite0")
    results = {}
    for name in SETS:
        data = load_dataset(folder / name, trainable=False)
        tables = {}
        for short, backbone in backbones.items():
            begin = time.monotonic()
            tables[short] = extract(backbone, data.root, data.files)
            print(f"    {short}: {time.monotonic() - begin:.1f} s", file=sys.stderr, flush=True)
        labels = data.labels_of(range(len(data)))
        results[name] = np.array(
            [scores_of(specs, tables, labels, data.class_names, *split, seed) for seed, split in splits(labels)]
        )
        mean = results[name].mean(axis=0)
        shown = " ".join(f"{100 * top1:7.1f} ({loss:.3f})" for top1, loss in mean)
        gains = 100 * (results[name][:, 2, 0] - results[name][:, 0, 0])
        print(
            f"{name:15} {len(data):8} {shown}  {gains.mean():+.1f} ({', '.join(f'{g:+.1f}' for g in gains)})",
            flush=True,
        )
    every = np.array([result.mean(axis=0) for result in results.values()])
    mean = every.mean(axis=0)
    print(f"{'mean':15} {'':8} " + " ".join(f"{100 * top1:7.1f} ({loss:.3f})" for top1, loss in mean))
    for position, name in ((2, JOINED), (1, SECOND), (3, AVERAGED)):
        gains = 100 * (every[:, position, 0] - every[:, 0, 0])
        error = gains.std(ddof=1) / len(gains) ** 0.5
        print(f"{name} - {FIRST}: {gains.mean():+.2f} points (standard error over the sets {error:.2f})")
    gain = 100 * (mean[2, 0] - mean[0, 0])
    print(f"the claim of {AIM:.0f} point {'holds' if gain >= AIM else 'does not hold'}: {gain:+.2f}")


def splits(labels: np.ndarray):
    """Seeds, and pairs of training and test positions."""
    for seed in range(SPLITS):
        shuffle = StratifiedShuffleSplit(1, test_size=TEST_SHARE, random_state=seed)
        yield seed, next(shuffle.split(np.zeros(len(labels)), labels))


def scores_of(specs, tables, labels, class_names, train, test, seed) -> list[tuple[float, float]]:
    """Top-1 and log loss of each column on one split."""
    joined = joined_table({BACKBONES[short]: table for short, table in tables.items()})
    stages = tuple(f"{BACKBONES[short]}/{stage}" for short, spec in specs.items() for stage in spec.stages)
    first = specs[FIRST]
    probes = {short: (specs[short], tables[short]) for short in specs}
    spec = ProbeSpec(JOINED, stages, first.pooling, first.strengths, first.folds, first.shuffles)
    probes[JOINED] = spec, joined
    prob = {}
    for name, (spec, table) in probes.items():
        head, _ = solve_probe(spec, table, train, labels[train], len(class_names), seed)
        prob[name] = to_probabilities(head.logits(table.select(spec.stages, spec.pooling)[test]), multi_label=False)
    prob[AVERAGED] = (prob[FIRST] + prob[SECOND]) / 2
    found = [score(prob[name], labels[test], class_names) for name in (FIRST, SECOND, JOINED, AVERAGED)]
    return [(metrics.top1, metrics.log_loss) for metrics in found]


if __name__ == "__main__":
    main()
