"""Whether finished runs answer the same question, so that their answers may be put together."""

from collections.abc import Sequence

from tltool.errors import RunError
from tltool.run import Run


def check_agreeing(runs: Sequence[Run]) -> None:
    """Checks runs before any work is done with them.

    Raises:
        RunError: if there are fewer than two, one comes twice or is not done, or they differ in their classes or in how
            many labels a picture may have; it names both runs.
    """
    if len(runs) < 2:
        raise RunError(f"{len(runs)} run given; an ensemble or a soup is made of two or more.")
    folders = [run.path.resolve() for run in runs]
    for run, folder in zip(runs, folders, strict=True):
        if folders.count(folder) > 1:
            raise RunError(f"{run.path}: given more than once. A run counts once.")
        run.folder.require_done()
    first = runs[0]
    for run in runs[1:]:
        if run.class_names != first.class_names:
            raise RunError(f"{first.path} and {run.path} differ in their classes: {_difference(first, run)}")
        kinds = [each.labels.threshold is None for each in (first, run)]
        if kinds[0] != kinds[1]:
            one, several = (first, run) if kinds[0] else (run, first)
            raise RunError(
                f"{one.path} tells one label a picture and {several.path} several: their probabilities mean different "
                "things. Put together runs of one kind."
            )


def _difference(first: Run, second: Run) -> str:
    """What one has and the other lacks, in words."""
    advice = "Put together runs that were fitted on the same classes."
    lacking = [
        f"only {mine.path.name} has {', '.join(repr(name) for name in names)}"
        for mine, other in ((first, second), (second, first))
        if (names := [name for name in mine.class_names if name not in other.class_names])
    ]
    return f"{'; '.join(lacking) or 'they come in another order'}. {advice}"
