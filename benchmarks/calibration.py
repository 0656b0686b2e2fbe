"""Claim: after scaling, the calibration error is at most 0.05 on average and the log loss lower on every set; sets at
90 % hold the right class in 88 to 92 % on average.

Stage-probe heads on ten splits of each set, half to learn from: with fewer pictures to test on, chance is most of what
is measured. The temperature and the conformal scores come from out-of-fold logits of the training part. The ridge of
these heads is chosen by out-of-fold log loss, so that they come calibrated and little is left to gain; below each
stands what happens to heads with too little ridge, which are too sure of themselves, as fine-tuned networks often are.
Columns, in their order:

top-1, T           accuracy and temperature
loss               log loss before and after
lower              splits on which it is lower after
error              calibration error before and after, mean of the splits, and that of probabilities with nothing wrong
                   (labels drawn from them) on as few pictures
pooled             calibration error before and after over the pictures of all splits together
thresh, cover      coverage of the conformal threshold by itself, and of the sets, which are never empty: where the
                   model is right more often than 90 %, they hold the right class at least as often
size               classes a set

    python benchmarks/calibration.py [FOLDER OF IMAGE SETS]
"""

import numpy as np
from contest import image_sets, print_setting
from scipy.special import softmax

from tltool.backbones import load_backbone
from tltool.data import load_dataset
from tltool.evaluation.conformal import ConformalScores
from tltool.evaluation.metrics import expected_calibration_error
from tltool.features.extract import extract
from tltool.heads import temperature as temperatures
from tltool.heads.cross_validation import cross_validate, out_of_fold_logits
from tltool.heads.logistic import LogisticProblem, log_loss
from tltool.heads.temperature import CALIBRATION_FOLDS, CALIBRATION_SHUFFLES, fit_temperature
from tltool.recipes import load_recipe

SETS = ("flowers", "trashnet", "weather", "ham10000_skin")
BESIDE = ("chest_xray", "rsscn7_aerial")  # not of the claim, but shown
SPLITS, LEARNED = 10, 0.5
COVERAGE, ERROR_AT_MOST, COVERED = 0.9, 0.05, (0.88, 0.92)
DRAWS = 20  # of labels from the probabilities themselves
SURE = 0.01  # of the chosen ridge
FEW, FACTORS = (20, 50, 100, 200), (1.0, 1.3, 2.0)

Head = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # out-of-fold logits and labels, tested ones


def main() -> None:
    print_setting()
    print(f"{CALIBRATION_SHUFFLES} shuffles of {CALIBRATION_FOLDS} folds to calibrate on, splits 0 to {SPLITS - 1}")
    columns = "top-1 T loss after lower error after perfect pooled after thresh cover size"
    print(f"{'set':27}" + "".join(f"{column:>8}" for column in columns.split()))
    rows, usual, changes = {"": {}, "too little ridge": {}}, [], {}
    for name in (*SETS, *BESIDE):
        for kind, heads in zip(rows, heads_of(name), strict=True):
            rows[kind][name] = np.array(measured(heads))
            show(f"  {kind}" if kind else name, rows[kind][name])
            usual += [] if kind else heads
            if not kind:
                changes[name] = [loss_change(*head) for head in heads]
    for kind, means in rows.items():
        for names in (SETS, (*SETS, *BESIDE)):
            show(f"mean of {len(names)} {kind}", np.mean([means[name] for name in names], axis=0))
    print_few(usual)
    means = np.array([rows[""][name] for name in SETS])
    before, after, error_before, error, covered = means[:, [2, 3, 5, 6, 11]].T
    for name, found in changes.items():
        print(f"{name}: log loss changes by {np.mean(found):+.4f}, standard error {np.std(found) / SPLITS**0.5:.4f}")
    print(f"log loss lower on {(after < before).sum()} of {len(SETS)} sets, ratio {after.mean() / before.mean():.3f}")
    print(
        f"calibration error {error.mean():.4f} (at most {ERROR_AT_MOST}), "
        f"ratio {error.mean() / error_before.mean():.2f}; "
        f"coverage {covered.mean():.1%} ({COVERED[0]:.0%} to {COVERED[1]:.0%})"
    )


def heads_of(name: str) -> tuple[list[Head], list[Head]]:
    """What is said of each split by the head that the recipe makes, and by one with too little ridge."""
    data = load_dataset(image_sets() / name)
    backbone, head = load_backbone("efficientnet_lite0"), load_recipe("stage-probe").head
    table = extract(backbone, data.root, data.files)
    features = table.select(backbone.stage_names, head.pooling)
    labels, classes = np.asarray(data.labels_of(table.indices)), len(data.class_names)
    heads = [], []
    for split in range(SPLITS):
        random = np.random.default_rng(split)
        by_class = [random.permutation(np.flatnonzero(labels == label)) for label in range(classes)]
        learned = np.sort(np.concatenate([rows[: round(LEARNED * len(rows))] for rows in by_class]))
        tested = np.setdiff1d(np.arange(len(labels)), learned)
        problem = LogisticProblem(features[learned], labels[learned], classes)
        l2 = cross_validate(problem, head.strengths, head.folds, head.shuffles, split).l2
        for kind, strength in zip(heads, (l2, SURE * l2), strict=True):
            seeds = [split + SPLITS * shuffle for shuffle in range(CALIBRATION_SHUFFLES)]
            held_out = [out_of_fold_logits(problem, strength, CALIBRATION_FOLDS, seed) for seed in seeds]
            logits = problem.fit(strength).logits(features[tested])
            kind.append((np.stack(held_out), labels[learned], logits, labels[tested]))
    return heads


def measured(heads: list[Head]) -> list[float]:
    """The numbers of one line of the table."""
    lines, before, after, truth = [], [], [], []
    for split, (held_out, learned, logits, labels) in enumerate(heads):
        temperature = fit_temperature(held_out, learned).value
        raw, prob = softmax(logits, axis=1), softmax(logits / temperature, axis=1)
        conformal = ConformalScores.from_probabilities(softmax(held_out[0] / temperature, axis=1), learned)
        everyone, sets = np.arange(len(labels)), conformal.sets(prob, COVERAGE)
        random = np.random.default_rng(split)
        drawn = [(prob.cumsum(axis=1) > random.random((len(prob), 1))).argmax(axis=1) for _ in range(DRAWS)]
        losses = log_loss(logits, labels).mean(), log_loss(logits / temperature, labels).mean()
        errors = [expected_calibration_error(values, labels) for values in (raw, prob)]
        perfect = np.mean([expected_calibration_error(prob, made) for made in drawn])
        right = prob[everyone, labels]
        covered = (right >= conformal.threshold(COVERAGE)).mean(), sets[everyone, labels].mean()
        top1 = (prob.argmax(axis=1) == labels).mean()
        line = (top1, temperature, *losses, losses[1] < losses[0], *errors, perfect, *covered, sets.sum(axis=1).mean())
        lines.append(line)
        before.append(raw)
        after.append(prob)
        truth.append(labels)
    means = np.mean(lines, axis=0)
    pooled = [expected_calibration_error(np.concatenate(values), np.concatenate(truth)) for values in (before, after)]
    return [*means[:8], *pooled, *means[8:]]


def loss_change(held_out: np.ndarray, learned: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> float:
    """What a temperature from out-of-fold logits adds to the log loss of the tested pictures, nats."""
    temperature = fit_temperature(held_out, learned).value
    return float((log_loss(logits / temperature, labels) - log_loss(logits, labels)).mean())


def show(name: str, line: np.ndarray) -> None:
    forms = ["7.1%", "7.2f", "7.4f", "7.4f", "7.0%", "7.3f", "7.3f", "7.3f", "7.3f", "7.3f", "7.1%", "7.1%", "7.2f"]
    print(f"{name:27}", *(format(number, form) for number, form in zip(line, forms, strict=True)), flush=True)


def print_few(heads: list[Head]) -> None:
    """Whether a temperature from few pictures does good: change of log loss, for logits as they are and surer ones."""
    temperatures.FEWEST = 0
    print("change of log loss by a temperature from few pictures, thousandths of a nat, mean and worst tenth:")
    for count in FEW:
        cells = []
        for factor in FACTORS:
            changes = []
            for split, (held_out, learned, logits, labels) in enumerate(heads):
                chosen = np.random.default_rng(split).permutation(len(learned))[:count]
                changes.append(
                    1000 * loss_change(factor * held_out[:, chosen], learned[chosen], factor * logits, labels)
                )
            worst = np.sort(changes)[-max(len(changes) // 10, 1) :]
            cells.append(f"logits times {factor}: {np.mean(changes):+7.1f}, {worst.mean():+6.1f}")
        print(f"{count:5} pictures; " + "; ".join(cells), flush=True)


if __name__ == "__main__":
    main()
