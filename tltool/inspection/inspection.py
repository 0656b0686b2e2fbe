"""What was measured of a data set before anything is decided."""

from dataclasses import asdict, dataclass
from typing import Any

from tltool.data.dataset import Problem
from tltool.doctor.findings import Finding
from tltool.inspection.baselines import Baseline
from tltool.inspection.similarity import Similarity
from tltool.inspection.size import Size
from tltool.inspection.symmetry import Symmetry


@dataclass(frozen=True)
class Health:
    """Whether the files could be read.

    Attributes:
        readable: Pictures that were.
        problems: Files that were left out, with reasons.
        notes: What was decided while reading, in words.
        findings: What the doctor says, the grave ones first.
    """

    readable: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, eq=False)
class Inspection:
    """The facts that a decision rests on.

    Attributes:
        source: What the user gave as data.
        backbone: The name of the network that was looked through; None if none was.
        size, similarity, baselines, health: What was measured; without a network no similarity and no baselines.
        settings: What was asked of the backbone, as "key=value"; a recipe that follows keeps to it.
        symmetry: What flips do to the classes; None where it was not measured.
    """

    source: str
    backbone: str | None
    size: Size
    similarity: Similarity | None
    baselines: tuple[Baseline, ...]
    health: Health
    settings: tuple[str, ...] = ()
    symmetry: Symmetry | None = None

    def to_json(self) -> dict[str, Any]:
        """What `tltool inspect --json` prints and a run folder stores as `inspection.json`."""
        return {
            "source": self.source,
            "backbone": self.backbone,
            "size": {
                "images": self.size.images,
                "classes": self.size.classes,
                "per_class": self.size.per_class,
                "held_out": self.size.held_out,
                "imbalance": self.size.imbalance,
            },
            "similarity": asdict(self.similarity) if self.similarity else None,
            "symmetry": asdict(self.symmetry) if self.symmetry else None,
            "baselines": [
                {
                    "recipe": baseline.spec.name,
                    "accuracy": baseline.validation.accuracy,
                    "accuracy_error": baseline.validation.accuracy_error,
                    "log_loss": baseline.validation.log_loss,
                    "l2": baseline.validation.l2,
                    "pictures": baseline.pictures,
                    "path": [list(point) for point in baseline.validation.path],
                }
                for baseline in self.baselines
            ],
            "health": {
                "readable": self.health.readable,
                "problems": [{"path": p.path, "reason": p.reason} for p in self.health.problems],
                "notes": list(self.health.notes),
                "findings": [finding.to_json() for finding in self.health.findings],
            },
        }
