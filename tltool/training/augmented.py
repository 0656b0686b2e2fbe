"""Augmented batches, made on all cores while the consumer works on the batch before."""

import os
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from tltool.augment.augmenter import Augmenter, of_one_kind
from tltool.augment.policies import Policy
from tltool.data.batches import LOOK_AHEAD, Batch
from tltool.features.views import View

FORMAT = 1  # of views: raise it when a step changes pictures otherwise; features of older views are not read then
CONTENT_DIGITS = 16  # of a content key, hexadecimal: two pictures of a set then never share a draw by chance


@dataclass(frozen=True)
class Examples:
    """What one training step learns from.

    Attributes:
        pixels: Shape (n, size, size, 3), uint8.
        targets: Shape (n, classes), float32; soft where pictures were mixed.
    """

    pixels: np.ndarray
    targets: np.ndarray


def augmented(
    batches: Iterable[Batch],
    targets: np.ndarray,
    pictures: np.ndarray,
    augmenter: Augmenter,
    epoch: int,
    workers: int | None = None,
) -> Generator[Examples, None, None]:
    """Augments batches in parallel and yields them in order.

    Memory stays below `LOOK_AHEAD` + 1 batches beyond those of `batches`. Threads end with the last batch, or when the
    generator is closed.

    Args:
        batches: As they are read.
        targets: Of all pictures in the order in which they are read, shape (N, classes).
        pictures: What each of them is, whole numbers, shape (N,): the same picture is drawn for alike in any order.
        augmenter: What is done to them.
        epoch: Another one gives other draws.
        workers: Threads, >= 1; None for one a core.
    """
    if not augmenter.policy:
        for batch in batches:
            yield Examples(batch.pixels, targets[batch.indices])
        return

    unmixed = Augmenter(augmenter.policy.per_picture, augmenter.seed)

    def augment(batch: Batch) -> Examples:
        rows = batch.indices
        # A batch, most often a short last one, may by chance hold a single class: nothing can be mixed then.
        change = unmixed if of_one_kind(targets[rows]) else augmenter
        return Examples(*change(batch.pixels, targets[rows], pictures[rows], epoch))

    # Threads: TensorFlow and NumPy give up the interpreter lock while they compute.
    executor = ThreadPoolExecutor(workers or os.cpu_count() or 1, thread_name_prefix="tltool-augment")
    try:
        waiting = (executor.submit(augment, batch) for batch in batches)
        window: deque[Future[Examples]] = deque(islice(waiting, LOOK_AHEAD))
        while window:
            window.extend(islice(waiting, 1))
            yield window.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        if isinstance(batches, Generator):
            batches.close()


def augmented_view(policy: Policy, seed: int, number: int) -> View:
    """One draw of a policy for every picture, drawn by the picture's content: equal files get equal views.

    Args:
        policy: Its steps that change each picture by itself.
        seed: Of all draws.
        number: Another one gives another view, >= 0.
    """
    augmenter = Augmenter(policy.per_picture, seed)

    def change(pixels: np.ndarray, keys: Sequence[str]) -> np.ndarray:
        return augmenter(pixels, pictures=[int(key[:CONTENT_DIGITS], 16) for key in keys], epoch=number)[0]

    return View(f"{augmenter.policy.digest}-{seed}-{number}-{FORMAT}", change)
