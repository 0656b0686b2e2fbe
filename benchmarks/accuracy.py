"""Claim: with the recipe that the table picks, tltool reaches these top-1 scores, and more than plain Keras does.

At least 0.85 on flowers, 0.75 on trashnet, 0.90 on chest_xray and 0.95 on hymenoptera; plain Keras trains the same
frozen backbone for 20 epochs on the same pictures.

    python benchmarks/accuracy.py [FOLDER OF IMAGE SETS]
"""

from contest import image_sets, print_setting, run_plain_keras, run_tltool

WANTED = {"flowers": 0.85, "trashnet": 0.75, "chest_xray": 0.90, "hymenoptera": 0.95}


def main() -> None:
    folder = image_sets()
    print_setting()
    print(f"{'set':14} {'recipe':14} {'tltool':>7} {'wanted':>7} {'plain':>7} {'seconds':>8} {'plain':>8} {'ratio':>6}")
    reached = True
    for name, wanted in WANTED.items():
        ours, plain = run_tltool(folder / name), run_plain_keras(folder / name)
        reached &= ours.top1 >= wanted
        print(
            f"{name:14} {ours.recipe:14} {ours.top1:7.3f} {wanted:7.2f} {plain.top1:7.3f} {ours.seconds:8.1f} "
            f"{plain.seconds:8.1f} {ours.seconds / plain.seconds:6.2f}",
            flush=True,
        )
    print("All wanted scores reached." if reached else "Not all wanted scores reached.")


if __name__ == "__main__":
    main()
