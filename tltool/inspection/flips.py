"""What flips do to pictures, judged from what was measured: still themselves, or others.

A picture that is another one when flipped must not be flipped in training.
"""

from typing import Literal, NamedTuple

from tltool.inspection.orientation import Orientation
from tltool.inspection.symmetry import Symmetry

Verdict = Literal["itself", "another", "unclear"]  # what a flipped picture is
Way = Literal["one way", "upright", "any way", "unclear"]  # how pictures may be turned without becoming others


class FlipLimit(NamedTuple):
    """From where on a flip makes other pictures; each number lies in a gap between image sets, benchmarks/symmetry.py.

    Attributes:
        lost: Share of what a linear head knows that it loses on flipped pictures.
        told: Share of flipped pictures told from clean ones: they then come that way never, although classes survive.
            None where this says nothing.
    """

    lost: float
    told: float | None


FLIP_LIMITS = {
    # Lost: between X-rays (0.05) and digits (0.16). Told: between clothes (0.73), of which shoes alone point to one
    # side, and X-rays (0.98), where every heart is on the same.
    "mirrored": FlipLimit(lost=0.06, told=0.9),
    # Networks have seen mirrored pictures, but none upside down or turned, so every set loses something by these.
    # Told: between skin (0.56) and insects (0.86): seen from above, pictures have no up.
    "upside_down": FlipLimit(lost=0.1, told=0.75),
    # Lost: between skin (0.07) and weather (0.24). Told says nothing: squeezed into a square, skin shows it (0.97) by
    # its proportions.
    "turned": FlipLimit(lost=0.1, told=None),
}
# Fall of one class's recall from which that class alone forbids a flip, as of an arrow among other signs; and how
# improbable such a fall must be by chance, over all classes.
CLASS_FALLS_FROM = 0.25
CLASS_CHANCE = 0.01
# Flipped pictures below which nothing is concluded: of 20, guessing is right in three quarters one time in fifty.
FEWEST_FLIPPED = 20
# Standard errors from which a loss is more than noise; 2 is the usual 95 %.
NOISE_Z = 2.0

FLIPPED = {"mirrored": "Mirrored", "upside_down": "Upside down", "turned": "Turned by a quarter"}
NAMED = 3  # changed classes in a reason


def judge_way(symmetry: Symmetry) -> Way:
    """Which flips the pictures bear. Rotations need all of them; what is unclear upside down is left upright."""
    verdicts = judge_flips(symmetry)
    if verdicts["mirrored"] == "another":
        return "one way"
    if verdicts["mirrored"] == "unclear":
        return "unclear"
    return "any way" if set(verdicts.values()) == {"itself"} else "upright"


def judge_flips(symmetry: Symmetry) -> dict[str, Verdict]:
    """What a picture is when it is mirrored, upside down and turned."""
    if symmetry.pictures < FEWEST_FLIPPED:
        return dict.fromkeys(FLIP_LIMITS, "unclear")
    return {name: judge_orientation(getattr(symmetry, name), limit) for name, limit in FLIP_LIMITS.items()}


def judge_orientation(flip: Orientation, limit: FlipLimit) -> Verdict:
    """Whether a flipped picture is still itself. A loss counts beyond its noise; none, only if it would have shown."""
    if changed_classes(flip) or (limit.told is not None and flip.told_apart >= limit.told):
        return "another"
    if flip.lost is None:
        return "unclear"
    noise = NOISE_Z * flip.error
    if flip.lost >= limit.lost:
        return "another" if flip.lost >= noise else "unclear"
    return "itself" if noise <= limit.lost else "unclear"


def changed_classes(flip: Orientation) -> tuple[str, ...]:
    """Names of the classes that are no longer found when flipped, the most changed first."""
    chance = CLASS_CHANCE / max(len(flip.classes), 1)
    falls = {name: change.recall - change.flipped_recall for name, change in flip.classes.items()}
    changed = [n for n, fall in falls.items() if fall >= CLASS_FALLS_FROM and flip.classes[n].chance <= chance]
    return tuple(sorted(changed, key=lambda name: -falls[name]))


def harm_in_words(name: str, symmetry: Symmetry) -> str:
    """What speaks against a flip; what is lost is a share of what the head knows."""
    flip, limit = getattr(symmetry, name), FLIP_LIMITS[name]
    changed = changed_classes(flip)
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    if judge_orientation(flip, limit) != "another":
        return f"{FLIPPED[name]}, that is not sure."
    if flip.lost is not None and flip.lost >= max(limit.lost, NOISE_Z * flip.error):
        classes = f", above all of {', '.join(changed[:NAMED])}{more}" if changed else ""
        return (
            f"{FLIPPED[name]}, pictures are others: a linear head loses {share_lost(flip)} of what it knows{classes}."
        )
    if changed:
        return f"{FLIPPED[name]}, some classes are no longer found: {', '.join(changed[:NAMED])}{more}."
    return f"{FLIPPED[name]}, pictures are known to be so in {flip.told_apart:.0%} of cases: they do not come that way."


def share_lost(flip: Orientation) -> str:
    measured = f"{round(flip.lost, 2) + 0.0:.0%} ± {flip.error:.0%}"  # + 0.0: a loss that rounds to 0 is not -0
    return measured if flip.lost >= 0.005 else f"nothing ({measured})"
