"""What fine-tuning brought, told by the validation pictures."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

IN_WORDS = {"log_loss": "log loss", "balanced_accuracy": "balanced error"}


@dataclass(frozen=True)
class Averaged:
    """What the average of weights brought that a stage ended with; scores as in `FineTuning`.

    Attributes:
        stage: Its name.
        kind: "ema", "swa" or "snapshots".
        of: How many sets of weights it is made of.
        plain: The score of the best epoch.
        averaged: That of the average.
    """

    stage: str
    kind: str
    of: int
    plain: float
    averaged: float

    @property
    def kept(self) -> bool:
        """Whether it took the place of the best epoch."""
        return self.averaged < self.plain

    def in_words(self, choose_by: str) -> str:
        verdict = "it is kept" if self.kept else "that epoch is kept"
        return (
            f"{self.stage}: {self.kind} of {self.of} sets of weights has a validation {IN_WORDS[choose_by]} of "
            f"{self.averaged:.4f}, the best epoch {self.plain:.4f}; {verdict}."
        )


@dataclass(frozen=True)
class FineTuning:
    """How it went.

    Attributes:
        choose_by: What the validation pictures were scored by: "log_loss", nats, or "balanced_accuracy", told as 1
            minus it; lower is better in both.
        probe: The probe's score.
        fine_tuned: That of the fine-tuned network after its best epoch; infinite where no epoch gave a finite one.
        factor: What came out: 0 for the probe, 1 for the fine-tuned network, between them the best blend.
        blended: The score of what came out, never above the probe's.
        averages: Of the stages that average weights.
    """

    choose_by: str
    probe: float
    fine_tuned: float
    factor: float
    blended: float
    averages: tuple[Averaged, ...] = ()

    @property
    def kept(self) -> bool:
        """Whether anything of the fine-tuning is in what came out."""
        return self.factor > 0

    def to_json(self) -> dict[str, Any]:
        """As JSON, in which accuracies are accuracies."""

        def shown(value: float) -> float | None:
            if not math.isfinite(value):
                return None
            return value if self.choose_by == "log_loss" else 1 - value

        averages = [
            asdict(each) | {"plain": shown(each.plain), "averaged": shown(each.averaged), "kept": each.kept}
            for each in self.averages
        ]
        kept = "probe" if not self.kept else "fine-tuned" if self.factor == 1 else "blend"
        scores = {"probe": shown(self.probe), "fine_tuned": shown(self.fine_tuned), "blended": shown(self.blended)}
        found = {"choose_by": self.choose_by, **scores, "factor": self.factor, "kept": kept}
        return found | ({"averages": averages} if averages else {})

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "FineTuning":
        """What `to_json` gave."""

        def score(name: str, values: Mapping[str, Any] = values) -> float:
            value = values[name]
            if value is None:
                return math.inf
            return value if choose_by == "log_loss" else 1 - value

        choose_by = values["choose_by"]
        averages = tuple(
            Averaged(each["stage"], each["kind"], each["of"], score("plain", each), score("averaged", each))
            for each in values.get("averages", ())
        )
        return cls(choose_by, score("probe"), score("fine_tuned"), values["factor"], score("blended"), averages)

    def __str__(self) -> str:
        found = "none" if math.isinf(self.fine_tuned) else f"{self.fine_tuned:.4f}"
        result = {0.0: "the probe is handed back", 1.0: "the fine-tuned network is kept"}.get(
            self.factor, f"{self.factor:.0%} of the way between them is kept, {self.blended:.4f}"
        )
        return f"Validation {IN_WORDS[self.choose_by]}: probe {self.probe:.4f}, fine-tuned {found}; {result}."
