"""Claim: BatchNorm divergence puts every image set on the side of ImageNet where a person would put it.

Prints each set's divergence and the pretrained classifier's confidence, sorted, with the table's column, and the gap
around the threshold; the baseline is the same verdict by confidence alone.

    python benchmarks/similarity.py [FOLDER OF IMAGE SETS]
"""

from contest import image_sets, print_setting

from tltool.backbones import load_backbone
from tltool.carry_out import inspect_similarity
from tltool.data import load_dataset
from tltool.decision import CONFIDENT_ABOVE, SIMILAR_BELOW

SIMILAR = {"hymenoptera", "flowers", "cats_dogs", "trashnet", "weather"}
DIFFERENT = {"chest_xray", "ham10000_skin", "fashion_mnist", "kmnist_test"}


def main() -> None:
    folder = image_sets()
    print_setting()
    backbone = load_backbone("efficientnet_lite0")
    rows = []
    for name in sorted(SIMILAR | DIFFERENT | {"rsscn7_aerial"}):
        similarity = inspect_similarity(load_dataset(folder / name), backbone)
        rows.append((similarity.divergence, similarity.confidence, name))
    right = by_confidence = 0
    print(f"{'set':16} {'divergence':>10} {'confidence':>10}  column     a person says")
    for divergence, confidence, name in sorted(rows):
        column = "similar" if divergence < SIMILAR_BELOW else "different"
        expected = "similar" if name in SIMILAR else "different" if name in DIFFERENT else "between"
        right += column == expected
        by_confidence += ("similar" if confidence >= CONFIDENT_ABOVE else "different") == expected
        print(f"{name:16} {divergence:10.3f} {confidence:10.3f}  {column:10} {expected}")
    below = max(divergence for divergence, _, name in rows if divergence < SIMILAR_BELOW)
    above = min(divergence for divergence, _, name in rows if divergence >= SIMILAR_BELOW)
    total = len(SIMILAR | DIFFERENT)
    print(f"gap around {SIMILAR_BELOW}: {below:.3f} to {above:.3f}")
    print(f"right: {right} of {total} by divergence, {by_confidence} of {total} by confidence alone")


if __name__ == "__main__":
    main()
