"""A classifier as one stage trains it: with what regularizes it, and with its pictures augmented."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import keras
import numpy as np

from tltool.augment.augmenter import Augmenter
from tltool.augment.in_model import augmenting
from tltool.augment.policies import read_policy
from tltool.data.decoding import Framing
from tltool.features.engine import has_accelerator
from tltool.layers.penalties import penalized
from tltool.layers.regularize import regularized
from tltool.recipes import StageRecipe
from tltool.training.augmented import Examples, augmented
from tltool.training.pictures import Pictures


class StageNetwork:
    """Trains the weights of a classifier, which itself stays as it is exported: nothing random, no penalty.

    While it is entered, the classifier's variables carry the stage's penalties.

    Attributes:
        model, stage, train: As given.
        network: What is compiled and trained; its weights are the classifier's own.

    Args:
        model: From prepared pixels to logits; its layers frozen as the stage wants them.
        stage: Names augmentation, regularizers and label smoothing.
        train: Pictures to learn from.
        framing: How they become squares.
        seed: Of augmentation and of what is dropped.
        start: The classifier's weights before any stage, which L2-SP pulls to; what it has now where None.
        device: Whether pictures are augmented inside the training step; None for where there is an accelerator.
    """

    def __init__(
        self,
        model: keras.Model,
        stage: StageRecipe,
        train: Pictures,
        framing: Framing,
        seed: int,
        start: Sequence[np.ndarray] | None = None,
        device: bool | None = None,
    ):
        self.model, self.stage, self.train, self._framing = model, stage, train, framing
        self._targets = train.targets(model.output.shape[-1])
        self._augmenter = Augmenter(read_policy(stage.augmentation), seed)
        self._inside = bool(self._augmenter.policy) and (has_accelerator() if device is None else device)
        network = regularized(model, stage.regularizers, seed)
        self.network = augmenting(network, self._augmenter, framing.size) if self._inside else network
        self._start, self._penalties = start, ExitStack()

    def __enter__(self) -> Self:
        self._penalties.enter_context(penalized(self.model, self.stage.regularizers, self._start))
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._penalties.close()

    def compile(self, optimizer: keras.optimizers.Optimizer | str) -> None:
        losses = keras.losses.BinaryCrossentropy, keras.losses.CategoricalCrossentropy
        loss = losses[not self.train.multi_label](from_logits=True, label_smoothing=self.stage.label_smoothing)
        self.network.compile(optimizer=optimizer, loss=loss, jit_compile=_xla_pays())

    def batches(self, order: np.ndarray, epoch: int) -> Iterator[Examples]:
        """What the steps of an epoch learn from.

        Args:
            order: Positions of the training pictures.
            epoch: Another one augments otherwise.
        """
        read = self.train.take(order).read(self._framing, self.stage.batch_size)
        if not self._inside:
            yield from augmented(read, self._targets[order], order, self._augmenter, epoch)
            return
        for batch in read:
            rows = order[batch.indices]
            yield Examples(*self._augmenter.inputs(batch.pixels, self._targets[rows], rows, epoch))

    def step(self, examples: Examples) -> float:
        """Trains on a batch; gives its loss, penalties included."""
        return float(self.network.train_on_batch(examples.pixels, examples.targets))


def _xla_pays() -> bool | str:
    """XLA is ten times slower on CPUs for depthwise networks, and faster on accelerators."""
    return "auto" if keras.backend.backend() != "tensorflow" else has_accelerator()
