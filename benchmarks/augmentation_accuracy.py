"""Claim: none is made; this measures what augmentation brings, and the documentation tells it whatever it is.

On four sets and three seeds (of split, folds and training): `finetune-top` without augmentation, with the policy that
the decision picks, and with any policy named as an argument; and the picked probe with four augmented views a picture
against none. Top-1 and log loss on the test part, and minutes. Each result is kept as a line of JSON in the file that
--out names and not measured again.

    python benchmarks/augmentation_accuracy.py [FOLDER OF IMAGE SETS] [--out FILE] [--policy NAME]... [--set NAME]...
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from contest import print_setting

import tltool as tl

SETS = ("flowers", "trashnet", "chest_xray", "hymenoptera")
SEEDS = (0, 1, 2)
PICKED = "picked"


def trials(sets: list[str], policies: list[str]) -> Iterator[dict]:
    for seed in SEEDS:  # so that a run that is cut short has all sets
        for name in sets:
            for views in (0, 4):
                yield {"set": name, "seed": seed, "recipe": "probe", "policy": PICKED, "views": views}
    for seed in SEEDS:
        for name in sets:
            for policy in policies:
                yield {"set": name, "seed": seed, "recipe": "finetune-top", "policy": policy, "views": 0}


def measure(folder: Path, trial: dict) -> dict:
    settings = [f"head.views={trial['views']}"]
    recipe = None
    if trial["recipe"] != "probe":
        recipe = trial["recipe"]
        if trial["policy"] != PICKED:
            settings.append(f"stages.top.augmentation={trial['policy']}")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        run = tl.fit(folder / trial["set"], recipe, out=Path(work, "run"), seed=trial["seed"], settings=settings)
        metrics = json.loads((run.path / "metrics.json").read_text("utf-8"))
        decision = json.loads((run.path / "decision.json").read_text("utf-8"))
    return {
        "used": decision["used"],
        "augmentation": decision["augmentation"] if trial["policy"] == PICKED else trial["policy"],
        "top1": metrics["top1"],
        "log_loss": metrics["log_loss"],
        "kept": metrics.get("validation", {}).get("kept"),
        "seconds": time.perf_counter() - start,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", default=Path(__file__).resolve().parents[2] / "shared" / "data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("augmentation_accuracy.jsonl"))
    parser.add_argument("--policy", action="append", default=[])
    parser.add_argument("--set", action="append", default=[])
    given = parser.parse_args()
    print_setting()
    known = [json.loads(line) for line in given.out.read_text("utf-8").splitlines()] if given.out.is_file() else []
    for trial in trials(given.set or list(SETS), ["none", PICKED, *given.policy]):
        if any(trial.items() <= result.items() for result in known):
            continue
        known.append(trial | measure(given.folder, trial))
        with given.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(known[-1]) + "\n")
        print(json.dumps(known[-1]), flush=True)
    cells = defaultdict(list)
    for result in known:
        kind = f"{result['used']}, {result['views']} views" if result["recipe"] == "probe" else "finetune-top"
        cells[result["set"], kind, result["policy"], result["augmentation"]].append(result)
    print(f"{'set':14} {'what':24} {'policy':30} {'top-1':>16} {'log loss':>16} {'seconds':>8}")
    for (name, kind, policy, augmentation), results in sorted(cells.items()):
        top1, loss = ([result[key] for result in results] for key in ("top1", "log_loss"))
        label = f"picked: {augmentation}" if policy == PICKED else policy
        print(
            f"{name:14} {kind:24} {label:30} {np.mean(top1):7.3f} ± {np.std(top1):.3f}  {np.mean(loss):7.3f} ± "
            f"{np.std(loss):.3f} {np.mean([result['seconds'] for result in results]):8.0f}"
        )


if __name__ == "__main__":
    main()
