"""The table of cs231n, lecture 7, "data-set size x similarity to the pretraining data", as pure functions.

The table is a prior: where cross-validation on the data itself contradicts it beyond its own noise, evidence wins.
"""

from dataclasses import dataclass
from typing import Any, Literal

from tltool.errors import DataError
from tltool.inspection.baselines import Baseline, compare
from tltool.inspection.inspection import Inspection
from tltool.inspection.similarity import Similarity
from tltool.inspection.size import Size

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
# Standard errors of the paired difference in log loss from which evidence overrules the table; 2 is the usual 95 %.
EVIDENCE_Z = 2.0

TABLE: dict[tuple[Amount, Kinship], str] = {
    ("little", "similar"): "linear-probe",
    ("little", "different"): "stage-probe",
    ("a lot", "similar"): "finetune-top",
    ("a lot", "different"): "finetune-all",
}


@dataclass(frozen=True)
class Decision:
    """Which recipe, and why.

    Attributes:
        amount: The row of the table.
        kinship: The column.
        prior: The table's recipe for that cell.
        recipe: What was picked: the prior, or what evidence prefers to it.
        reasons: In plain words, in the order in which they count.
    """

    amount: Amount
    kinship: Kinship
    prior: str
    recipe: str
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
    reasons = (
        _size_in_words(facts.size, amount),
        _similarity_in_words(facts.similarity, kinship, facts.backbone),
        f"The table says {prior}: {WHY[prior]}",
        *verdict,
    )
    return Decision(amount, kinship, prior, recipe, reasons)


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
