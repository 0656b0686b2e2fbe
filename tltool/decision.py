"""The table of cs231n, lecture 7, "data-set size x similarity to the pretraining data", as pure functions.

The table is a prior: where cross-validation on the data itself contradicts it beyond its own noise, evidence wins.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tltool.errors import DataError
from tltool.inspection.baselines import Baseline, compare
from tltool.inspection.inspection import Inspection
from tltool.inspection.orientation import Orientation
from tltool.inspection.similarity import Similarity
from tltool.inspection.size import Size
from tltool.inspection.symmetry import Symmetry

Amount = Literal["little", "a lot"]
Kinship = Literal["similar", "different"]
Verdict = Literal["itself", "another", "unclear"]  # what a flipped picture is
Way = Literal["one way", "upright", "any way", "unclear"]  # how pictures may be turned without becoming others

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
# Standard errors of the paired difference in log loss from which evidence overrules the table; 2 is the usual 95 %.
EVIDENCE_Z = 2.0

TABLE: dict[tuple[Amount, Kinship], str] = {
    ("little", "similar"): "linear-probe",
    ("little", "different"): "stage-probe",
    ("a lot", "similar"): "finetune-top",
    ("a lot", "different"): "finetune-all",
}


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
        reasons: In plain words, in the order in which they count; the last is that of the augmentation.
    """

    amount: Amount
    kinship: Kinship
    prior: str
    recipe: str
    augmentation: str
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
    reasons = (
        _size_in_words(facts.size, amount),
        _similarity_in_words(facts.similarity, kinship, facts.backbone),
        f"The table says {prior}: {WHY[prior]}",
        *verdict,
        _augmentation_in_words(facts.symmetry, augmentation),
    )
    return Decision(amount, kinship, prior, recipe, augmentation, reasons)


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
    return "similar" if similarity.confidence >= CONFIDENT_ABOVE else "different"


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
    noise = EVIDENCE_Z * flip.error
    if flip.lost >= limit.lost:
        return "another" if flip.lost >= noise else "unclear"
    return "itself" if noise <= limit.lost else "unclear"


def changed_classes(flip: Orientation) -> tuple[str, ...]:
    """Names of the classes that are no longer found when flipped, the most changed first."""
    chance = CLASS_CHANCE / max(len(flip.classes), 1)
    falls = {name: change.recall - change.flipped_recall for name, change in flip.classes.items()}
    changed = [n for n, fall in falls.items() if fall >= CLASS_FALLS_FROM and flip.classes[n].chance <= chance]
    return tuple(sorted(changed, key=lambda name: -falls[name]))


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
FLIPPED = {"mirrored": "Mirrored", "upside_down": "Upside down", "turned": "Turned by a quarter"}
NAMED = 3  # changed classes in a reason


def _augmentation_in_words(symmetry: Symmetry | None, policy: str) -> str:
    if symmetry is None:
        found = "What flips do to the classes was not measured; a probe without views has no use for it."
    else:
        found = _flips_in_words(symmetry, policy)
    return f"{found} Augmentation {policy}: {WHY_AUGMENT[policy]}."


def _flips_in_words(symmetry: Symmetry, policy: str) -> str:
    way = judge_way(symmetry)
    if way == "one way":
        return _harm_in_words("mirrored", symmetry)
    if way == "unclear":
        unsure = f"{symmetry.pictures} pictures do not tell whether they are still themselves when mirrored"
        return f"{unsure}; {CAREFUL[policy]}."
    lost = _share(symmetry.mirrored)
    kept = f"Mirrored, pictures keep their classes (a linear head loses {lost} of what it knows)"
    if way == "any way":
        upside_down, turned = _share(symmetry.upside_down), _share(symmetry.turned)
        return f"{kept}, and there is no up: upside down it loses {upside_down}, turned by a quarter {turned}."
    worst = "turned" if judge_flips(symmetry)["upside_down"] == "itself" else "upside_down"
    return f"{kept}. {_harm_in_words(worst, symmetry)}"


def _harm_in_words(name: str, symmetry: Symmetry) -> str:
    """What speaks against a flip; what is lost is a share of what the head knows."""
    flip, limit = getattr(symmetry, name), FLIP_LIMITS[name]
    changed = changed_classes(flip)
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    if judge_orientation(flip, limit) != "another":
        return f"{FLIPPED[name]}, that is not sure."
    if flip.lost is not None and flip.lost >= max(limit.lost, EVIDENCE_Z * flip.error):
        classes = f", above all of {', '.join(changed[:NAMED])}{more}" if changed else ""
        return f"{FLIPPED[name]}, pictures are others: a linear head loses {_share(flip)} of what it knows{classes}."
    if changed:
        return f"{FLIPPED[name]}, some classes are no longer found: {', '.join(changed[:NAMED])}{more}."
    return f"{FLIPPED[name]}, pictures are known to be so in {flip.told_apart:.0%} of cases: they do not come that way."


def _share(flip: Orientation) -> str:
    measured = f"{round(flip.lost, 2) + 0.0:.0%} ± {flip.error:.0%}"  # + 0.0: a loss that rounds to 0 is not -0
    return measured if flip.lost >= 0.005 else f"nothing ({measured})"
