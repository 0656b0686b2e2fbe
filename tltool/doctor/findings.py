"""What the doctor says of a data set."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

# error: the score or the training is wrong if nothing is done; warning: worth a look; note: to know.
Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
LINES_SHOWN = 5  # of a finding where people read it in a terminal; JSON and --quarantine have all


@dataclass(frozen=True)
class Finding:
    """One kind of fault, with all the files that have it.

    Attributes:
        kind: A short name that scripts may rely on, such as "exact-copies".
        severity: How bad it is.
        message: One or two sentences with numbers.
        fix: What to do about it, and what is offered.
        files: Those concerned, the most suspect or else the first by name in front; empty where it is the whole set
            or whole classes that are so.
        drop: Those of them that `--quarantine` leaves out.
        details: What there is to say of each file, as long as `files`; empty where there is nothing.
        groups: For copies: the files that are the same picture, two or more each.
        labels: For suspected labels: the given and the suggested label of each file; else empty.
    """

    kind: str
    severity: Severity
    message: str
    fix: str
    files: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    def lines(self, limit: int = LINES_SHOWN) -> list[str]:
        """The first of its files, one a line, in words: "a.jpg = b.jpg"; the last line counts the others."""
        details = self.details or ("",) * len(self.files)
        if self.groups and set(self.files).issuperset(file for group in self.groups for file in group):
            detail_of = dict(zip(self.files, details, strict=True))
            total, lines = len(self.groups), [_copies(group, detail_of, limit) for group in self.groups[:limit]]
        else:
            described = zip(self.files[:limit], details, strict=False)
            total, lines = len(self.files), [f"{file}: {detail}" if detail else file for file, detail in described]
        return lines + ([f"and {total - limit:,} more"] if total > limit else [])

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "severity": self.severity,
            "message": self.message,
            "fix": self.fix,
            "files": list(self.files),
            "drop": list(self.drop),
            "details": list(self.details),
            "groups": [list(group) for group in self.groups],
            "labels": [list(pair) for pair in self.labels],
        }


def by_severity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, then warnings, then notes; each in the order given."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def dropped(findings: Iterable[Finding]) -> set[str]:
    """The files that `--quarantine` leaves out."""
    return {file for finding in findings for file in finding.drop}


def counted(number: int, thing: str, things: str = "") -> str:
    """A number with its noun: "1 picture", "1,200 pictures"."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"


def _copies(group: Sequence[str], detail_of: Mapping[str, str], limit: int) -> str:
    # No more names than lines: one picture in a thousand copies must not fill the screen.
    names = [f"{file} ({detail_of[file]})" if detail_of[file] else file for file in group[:limit]]
    more = f" and {len(group) - limit:,} more" if len(group) > limit else ""
    return " = ".join(names) + more
