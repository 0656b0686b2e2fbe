"""What fine-tuning brought, told by the validation pictures."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

IN_WORDS = {"log_loss": "log loss", "balanced_accuracy": "balanced error"}


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
    """

    choose_by: str
    probe: float
    fine_tuned: float
    factor: float
    blended: float

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

        kept = "probe" if not self.kept else "fine-tuned" if self.factor == 1 else "blend"
        scores = {"probe": shown(self.probe), "fine_tuned": shown(self.fine_tuned), "blended": shown(self.blended)}
        return {"choose_by": self.choose_by, **scores, "factor": self.factor, "kept": kept}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "FineTuning":
        """What `to_json` gave."""

        def score(name: str) -> float:
            value = values[name]
            if value is None:
                return math.inf
            return value if values["choose_by"] == "log_loss" else 1 - value

        return cls(values["choose_by"], score("probe"), score("fine_tuned"), values["factor"], score("blended"))

    def __str__(self) -> str:
        found = "none" if math.isinf(self.fine_tuned) else f"{self.fine_tuned:.4f}"
        result = {0.0: "the probe is handed back", 1.0: "the fine-tuned network is kept"}.get(
            self.factor, f"{self.factor:.0%} of the way between them is kept, {self.blended:.4f}"
        )
        return f"Validation {IN_WORDS[self.choose_by]}: probe {self.probe:.4f}, fine-tuned {found}; {result}."
