"""The table of cs231n, lecture 7, "data-set size x similarity to the pretraining data", as pure functions.

The table is a prior: where cross-validation on the data itself contradicts it beyond its own noise, evidence wins.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

from tltool.errors import DataError
from tltool.inspection.baselines import Baseline, compare
from tltool.inspection.divergence import divergence_in_words, diverging_stages
from tltool.inspection.flips import Way, harm_in_words, judge_flips, judge_way, share_lost
from tltool.inspection.inspection import Inspection
from tltool.inspection.similarity import Similarity
from tltool.inspection.size import Size
from tltool.inspection.symmetry import Symmetry

Amount = Literal["little", "a lot"]
Kinship = Literal["similar", "different"]

# Median BatchNorm divergence, nats: the gap between weather photos (0.09) and leaves on black (0.14) among 21 sets.
SIMILAR_BELOW = 0.12
# Mean confidence of the pretrained classifier, for networks without BatchNorm. Of the same 21 sets it puts two (aerial,
# skin) on the other side than the divergence does, so it is a fallback and a second opinion, never the first.
CONFIDENT_ABOVE = 0.27
# Training pictures. The lecture gives no number; below this, on the sets that it was tried on, linear heads on features
# reach their score in seconds, and fine-tuning takes a CPU over two minutes an epoch.
A_LOT_OF_IMAGES = 2000
# Pictures of the median class. Below, most classes are learned from few pictures, however large the total is.
A_LOT_A_CLASS = 100
# Pixels of the network's picture for one of the file's, and the least picture that the last stages can use. On CPU, one
# seed: 2,000 of kmnist's 28 pixels, tuned, 94.2 % at 64, 95.6 % at 96, 95.5 % at 128. A frozen network, which knows
# things at another size, loses a little: stage probe, 600 flowers shrunk to 28 pixels, 68.5 % at 64, 73.7 % at 96,
# 76.0 % at 224; rubbish likewise, 70.8 %, 75.2 % and 73.2 %.
PIXELS_A_PIXEL = 3
SMALLEST_USEFUL = 96
SIZE_STEP = 32  # networks halve their picture five times
# Standard errors of the paired difference in log loss from which evidence overrules the table; 2 is the usual 95 %.
EVIDENCE_Z = 2.0

TABLE: dict[tuple[Amount, Kinship], str] = {
    ("little", "similar"): "linear-probe",
    ("little", "different"): "stage-probe",
    ("a lot", "similar"): "finetune-top",
    ("a lot", "different"): "finetune-all",
}


AUGMENTATION: dict[Way, dict[tuple[Amount, Kinship], str]] = {
    "one way": dict.fromkeys(TABLE, "documents"),
    "any way": dict.fromkeys(TABLE, "aerial-and-microscopy"),
    "upright": {
        ("little", "similar"): "photographs",
        ("little", "different"): "standard",
        ("a lot", "similar"): "photographs",
        ("a lot", "different"): "light",
    },
    # Careful: things in photographs may nearly always be mirrored; signs, scans and drawings often not.
    "unclear": {
        ("little", "similar"): "photographs",
        ("little", "different"): "documents",
        ("a lot", "similar"): "photographs",
        ("a lot", "different"): "documents",
    },
}
NOT_MEASURED = "standard"  # where nothing is known of flips: what most pictures bear


@dataclass(frozen=True)
class Decision:
    """Which recipe, and why.

    Attributes:
        amount: The row of the table.
        kinship: The column.
        prior: The table's recipe for that cell.
        recipe: What was picked: the prior, or what evidence prefers to it.
        augmentation: The policy of `tltool.augment` for these pictures.
        diverging: The stages at which the pictures part from the network's own, for a recipe that leaves to the
            decision what it trains; none where that cannot be told.
        reasons: In plain words, in the order in which they count; the last is that of the augmentation.
    """

    amount: Amount
    kinship: Kinship
    prior: str
    recipe: str
    augmentation: str
    diverging: tuple[str, ...]
    reasons: tuple[str, ...]

    @property
    def cell(self) -> str:
        return f"{self.amount}, {self.kinship}"

    @property
    def overruled(self) -> bool:
        return self.recipe != self.prior

    def to_json(self) -> dict[str, Any]:
        return {
            "cell": self.cell,
            "amount": self.amount,
            "kinship": self.kinship,
            "prior": self.prior,
            "recipe": self.recipe,
            "overruled": self.overruled,
            "augmentation": self.augmentation,
            "diverging": list(self.diverging),
            "reasons": list(self.reasons),
        }


def decide(facts: Inspection) -> Decision:
    """Reads the table, then lets evidence speak.

    Raises:
        DataError: if similarity was not measured.
    """
    if facts.similarity is None or facts.backbone is None:
        raise DataError(f"{facts.source}: inspected without features, so there is nothing to decide by. Inspect again.")
    amount, kinship = judge_size(facts.size), judge_similarity(facts.similarity, facts.baselines)
    prior = TABLE[amount, kinship]
    recipe, verdict = weigh_evidence(prior, facts.baselines)
    augmentation = pick_augmentation(facts.symmetry, amount, kinship)
    parting = divergence_in_words(facts.similarity)
    reasons = (
        _size_in_words(facts.size, amount),
        _similarity_in_words(facts.similarity, kinship, facts.backbone),
        *([parting] if parting else []),
        f"The table says {prior}: {WHY[prior]}",
        *verdict,
        _augmentation_in_words(facts.symmetry, augmentation),
    )
    return Decision(amount, kinship, prior, recipe, augmentation, diverging_stages(facts.similarity), reasons)


def judge_size(size: Size) -> Amount:
    """The row: both the total and the typical class must be large."""
    enough = size.images >= A_LOT_OF_IMAGES and size.typical_class >= A_LOT_A_CLASS
    return "a lot" if enough else "little"


def judge_similarity(similarity: Similarity, baselines: tuple[Baseline, ...] = ()) -> Kinship:
    """The column: by divergence; for a network without BatchNorm by confidence, unless early stages do better."""
    if similarity.divergence is not None:
        return "similar" if similarity.divergence < SIMILAR_BELOW else "different"
    by_name = {baseline.spec.name: baseline for baseline in baselines}
    if {"linear-probe", "stage-probe"} <= by_name.keys():
        comparison = compare(by_name["linear-probe"], by_name["stage-probe"])
        if abs(comparison.z) >= EVIDENCE_Z:
            return "different" if comparison.z > 0 else "similar"
    if similarity.confidence is None:  # neither the one nor the other: early stages would have shown a difference
        return "similar"
    return "similar" if similarity.confidence >= CONFIDENT_ABOVE else "different"


def pick_image_size(side: int | None, native: int) -> tuple[int, str]:
    """The size at which a network looks at pictures, where a recipe leaves it to them, and why, in words.

    Args:
        side: What the shorter side of a picture typically has, pixels; None where that is not known.
        native: What the network was made for, pixels.

    Returns:
        Height and width: `native`, or a multiple of `SIZE_STEP` below it.
    """
    if side is None:
        return native, f"No picture could be measured: the network looks at them at its own {native} pixels."
    wanted = math.ceil(PIXELS_A_PIXEL * side / SIZE_STEP) * SIZE_STEP
    size = min(max(wanted, SMALLEST_USEFUL), native)
    shown = f"Pictures of typically {side} pixels: the network looks at them at"
    if size == native:
        return native, f"{shown} its own {native} pixels."
    return size, f"{shown} {size} pixels, not its own {native}, in {(size / native) ** 2:.0%} of the time."


def weigh_evidence(prior: str, baselines: tuple[Baseline, ...]) -> tuple[str, tuple[str, ...]]:
    """The recipe after cross-validation, and what to say of it. Only linear recipes have been tried by then."""
    by_name = {baseline.spec.name: baseline for baseline in baselines}
    scores = ", ".join(
        f"{name} {baseline.validation.accuracy:.1%} ± {baseline.validation.accuracy_error:.1%}"
        for name, baseline in by_name.items()
    )
    shown = (f"Cross-validated on the training pictures: {scores}.",) if scores else ()
    rivals = [baseline for name, baseline in by_name.items() if name != prior]
    if prior not in by_name or not rivals:
        return prior, shown
    best, comparison = max(((rival, compare(by_name[prior], rival)) for rival in rivals), key=lambda pair: pair[1].gain)
    if comparison.z < EVIDENCE_Z:
        relation = "worse" if comparison.z <= -EVIDENCE_Z else "not better beyond the noise"
        verdict = f"{best.spec.name} is {relation} (log loss {-comparison.gain:+.3f} ± {comparison.error:.3f})."
        return prior, (*shown, f"The evidence agrees with the table: {verdict}")
    return best.spec.name, (
        *shown,
        f"The evidence overrules the table: {best.spec.name} lowers the log loss by {comparison.gain:.3f} "
        f"({comparison.z:.1f} standard errors).",
    )


def pick_augmentation(symmetry: Symmetry | None, amount: Amount, kinship: Kinship) -> str:
    """The policy: by what flips do to the classes, then by the cell of the table."""
    return NOT_MEASURED if symmetry is None else AUGMENTATION[judge_way(symmetry)][amount, kinship]


WHY = {
    "linear-probe": "few pictures would overfit a network, and the last features already fit pictures like these.",
    "stage-probe": "few pictures would overfit a network, and far from ImageNet early stages know more than the last.",
    "finetune-top": "there is enough data to adapt the last stages, and the others already fit pictures like these.",
    "finetune-all": "there is enough data to adapt the whole network, and its features were made for other pictures.",
}


def _size_in_words(size: Size, amount: Amount) -> str:
    much = "little" if amount == "little" else "a lot of"
    return (
        f"{size.images} training pictures in {size.classes} classes, typically {size.typical_class:.0f} a class: "
        f"{much} data (a lot is at least {A_LOT_OF_IMAGES} in total and {A_LOT_A_CLASS} a class)."
    )


def _similarity_in_words(similarity: Similarity, kinship: Kinship, backbone: str) -> str:
    if similarity.confidence is None:
        return _without_a_classifier(similarity, kinship, backbone)
    confident = similarity.confidence >= CONFIDENT_ABOVE
    if similarity.divergence is None:
        return (
            f"{backbone} has no BatchNorm to compare with; its own classifier is {similarity.confidence:.0%} confident "
            f"(similar from {CONFIDENT_ABOVE:.0%}): {kinship}."
        )
    agrees = "agrees" if confident == (kinship == "similar") else "would say otherwise, but it is the weaker witness"
    return (
        f"The pictures diverge by {similarity.divergence:.3f} from what {backbone} remembers of its own (similar below "
        f"{SIMILAR_BELOW}): {kinship}. Its classifier's confidence, {similarity.confidence:.0%}, {agrees}."
    )


def _without_a_classifier(similarity: Similarity, kinship: Kinship, backbone: str) -> str:
    if similarity.divergence is None:
        return (
            f"{backbone} has neither BatchNorm to compare with nor a classifier that could be confident; by "
            f"whether early stages do better than the last: {kinship}."
        )
    return (
        f"The pictures diverge by {similarity.divergence:.3f} from what {backbone} remembers of its own (similar below "
        f"{SIMILAR_BELOW}): {kinship}."
    )


WHY_AUGMENT = {
    "light": "with this much data only what hardly any object minds",
    "standard": "the usual changes, as few pictures show little of the variety",
    "photographs": "what cameras in hands do",
    "documents": "no flips",
    "aerial-and-microscopy": "all rotations and both flips",
}
CAREFUL = {
    "photographs": "things in photographs nearly always bear it",
    "documents": "a flip that changes classes does more harm than one left out",
}


def _augmentation_in_words(symmetry: Symmetry | None, policy: str) -> str:
    if symmetry is None:
        found = "What flips do to the classes was not measured; a probe without views has no use for it."
    else:
        found = _flips_in_words(symmetry, policy)
    return f"{found} Augmentation {policy}: {WHY_AUGMENT[policy]}."


def _flips_in_words(symmetry: Symmetry, policy: str) -> str:
    way = judge_way(symmetry)
    if way == "one way":
        return harm_in_words("mirrored", symmetry)
    if way == "unclear":
        unsure = f"{symmetry.pictures} pictures do not tell whether they are still themselves when mirrored"
        return f"{unsure}; {CAREFUL[policy]}."
    lost = share_lost(symmetry.mirrored)
    kept = f"Mirrored, pictures keep their classes (a linear head loses {lost} of what it knows)"
    if way == "any way":
        upside_down, turned = share_lost(symmetry.upside_down), share_lost(symmetry.turned)
        return f"{kept}, and there is no up: upside down it loses {upside_down}, turned by a quarter {turned}."
    worst = "turned" if judge_flips(symmetry)["upside_down"] == "itself" else "upside_down"
    return f"{kept}. {harm_in_words(worst, symmetry)}"
