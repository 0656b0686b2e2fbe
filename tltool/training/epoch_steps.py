"""Numbers the epochs of all stages in one row, the same for a run that was resumed."""

from tltool.training.events import Event, read_events
from tltool.training.run_folder import RunFolder

NOT_SCORES = ("time", "epoch")


class EpochSteps:
    """The place of each epoch in the whole run, from 1; an epoch that is trained again keeps its place.

    Args:
        run: Whose epochs were numbered before, if it is resumed.
    """

    def __init__(self, run: RunFolder):
        self._steps: dict[tuple[str, int], int] = {}
        for event in read_events(run.events):
            if event["event"] == "epoch":
                self.step_of(event)

    @property
    def last(self) -> int:
        """0 before the first."""
        return max(self._steps.values(), default=0)

    def step_of(self, event: Event) -> int:
        """The place of an "epoch" event."""
        return self._steps.setdefault((event["stage"], event["epoch"]), self.last + 1)


def scores_of(event: Event) -> dict[str, float]:
    """What an "epoch" or "end" event measured, by name."""
    return {name: float(value) for name, value in event.items() if isinstance(value, float) and name not in NOT_SCORES}
