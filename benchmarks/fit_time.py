"""Claim: `tltool fit`, from process start to scored and saved model, takes at most a fifth of plain Keras's time.

On the flowers set (360 training pictures), each as a process of its own with an empty cache, three times in turn.

    python benchmarks/fit_time.py [FOLDER OF IMAGE SETS]
"""

from statistics import median

from contest import image_sets, print_setting, run_plain_keras, run_tltool

ROUNDS = 3
AT_MOST = 0.2


def main() -> None:
    data = image_sets() / "flowers"
    print_setting()
    ratios = []
    for number in range(1, ROUNDS + 1):
        ours, plain = run_tltool(data), run_plain_keras(data)
        ratios.append(ours.seconds / plain.seconds)
        print(
            f"round {number}: tltool {ours.seconds:.1f} s (top-1 {ours.top1:.3f}), plain Keras {plain.seconds:.1f} s "
            f"(top-1 {plain.top1:.3f}), ratio {ratios[-1]:.3f}",
            flush=True,
        )
    verdict = "reached" if median(ratios) <= AT_MOST else "NOT reached"
    print(f"median ratio {median(ratios):.3f}, wanted at most {AT_MOST}: {verdict}")


if __name__ == "__main__":
    main()
