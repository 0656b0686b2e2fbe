"""A stage that looks at all pictures for each step: L-BFGS and the like."""

import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from tltool.optimizers.catalogue import get
from tltool.training.balance import score
from tltool.training.events import EventLog
from tltool.training.stage_network import StageNetwork
from tltool.training.stage_run import Weights
from tltool.training.train_step import is_out_of_memory, pieces


class _LateError(Exception):
    """The deadline has passed, in the midst of a search."""


def minimize_stage(
    trained: StageNetwork, events: EventLog, asked: Callable[[], bool], deadline: float | None
) -> tuple[float, Weights]:
    """The score of the validation pictures after a search of at most `epochs` iterations, and the weights then.

    A search that was stopped begins again: it knows no checkpoints within, and takes the same way.

    Args:
        trained: Entered and prepared.
        events: Told of iterations.
        asked: Whether somebody asked to stop.
        deadline: `time.monotonic()` at which to stop.

    Raises:
        KeyboardInterrupt: where somebody asked to stop.
    """
    stage = trained.stage
    trained.compile("sgd")  # the search has the loss from there, and no use for the optimizer
    everything = np.arange(len(trained.train))

    def whole_set(parts: int) -> Iterator[tuple]:
        for examples in trained.batches(everything, epoch=1):
            weights = trained.weights_of(examples.targets)
            found = examples.pixels, examples.targets
            yield from pieces(found if weights is None else (*found, weights), parts)

    def report(task: str, done: int, total: int) -> None:
        events.report(f"Fine-tuning {stage.name}", done, total)
        if asked():
            raise KeyboardInterrupt
        if deadline is not None and time.monotonic() > deadline:
            raise _LateError

    search = get(stage.optimizer, max_iterations=stage.epochs, **stage.optimizer_arguments)
    try:
        found = None
        while found is None:
            try:
                found = search.minimize(trained.network, partial(whole_set, trained.take_step.parts), report=report)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                trained.take_step.make_smaller(stage.batch_size)  # the same mean over all pictures, from where it is
        events.note(f"{stage.optimizer}: {found}.")
    except _LateError:
        events.note(f"The budget is used up: {stage.optimizer} stops at its last iterate.")
    events.report(f"Fine-tuning {stage.name}", stage.epochs, stage.epochs)
    return score(trained.predict(), trained.valid.labels, stage.choose_by), trained.model.get_weights()
