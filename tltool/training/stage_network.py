"""A classifier as one stage trains it: regularized, its pictures augmented, its frozen part computed once."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Self

import keras
import numpy as np

from tltool.augment.augmenter import Augmenter
from tltool.augment.in_model import augmenting
from tltool.augment.policies import read_policy
from tltool.backbones.backbone import PREPROCESSING
from tltool.data.decoding import Framing
from tltool.errors import RecipeError, StoppedError
from tltool.features.engine import ENGINE_BATCH, has_accelerator, load_engine
from tltool.layers.functional_graph import Call, Changes, calls_of, cut, rebuilt
from tltool.layers.kept_statistics import KeptStatistics
from tltool.layers.penalties import penalized
from tltool.layers.quickened import quickened
from tltool.layers.regularize import regularized
from tltool.progress import Report, silent
from tltool.recipe_parts import StageRecipe
from tltool.training.augmented import Examples, augmented
from tltool.training.balance import balanced_order, judge_balance, picture_weights
from tltool.training.devices import precision_here
from tltool.training.losses import stage_loss
from tltool.training.pictures import EVALUATION_BATCH, Pictures, predict_logits, predicted
from tltool.training.precision import computing_in
from tltool.training.recomputed_statistics import recomputed_statistics
from tltool.training.stored_rows import StoredRows
from tltool.training.train_step import TrainStep


class StageNetwork:
    """Trains the weights of a classifier, which itself stays as it is exported: nothing random, no penalty.

    Use it as a context: within it the classifier's variables carry the stage's penalties and its layers compute in the
    stage's precision.

    Attributes:
        model, stage, train, valid: As given.
        network: What is compiled and trained; its weights are the classifier's own.
        take_step: One step on a batch; from `compile` on.

    Args:
        model: From prepared pixels to logits; its layers frozen as the stage wants them.
        stage: Names augmentation, regularizers, loss and balance; nothing in it is left to the decision.
        train: Pictures to learn from.
        valid: Pictures that decide what to keep.
        framing: How they become squares.
        seed: Of the order of the pictures, of augmentation and of what is dropped.
        start: The classifier's weights before any stage, which L2-SP pulls to; what it has now where None.
        device: Whether pictures are augmented inside the training step; None for where there is an accelerator.
        scratch: Where what the frozen part gives is kept; a temporary folder where None.
        say: Told what there is to know about it.

    Raises:
        RecipeError: if the backbone does not take the stage's size of pictures.
    """

    def __init__(
        self,
        model: keras.Model,
        stage: StageRecipe,
        train: Pictures,
        valid: Pictures,
        framing: Framing,
        seed: int,
        start: Sequence[np.ndarray] | None = None,
        device: bool | None = None,
        scratch: Path | None = None,
        say: Callable[[str], None] = lambda text: None,
    ):
        self.model, self.stage, self.train, self.valid = model, stage, train, valid
        self._seed, self._start, self._say, self._scratch = seed, start, say, scratch
        self._framing = framing
        self._train_framing = framing if stage.image_size == "full" else Framing(stage.image_size, framing.fit)
        classes = model.output.shape[-1]
        self._targets = train.targets(classes)
        self.balance, reason = judge_balance(stage.balance, self._targets.sum(axis=0), train.multi_label)
        if reason:
            say(reason)
        self._class_weights = _class_weights(train.labels, classes) if self.balance == "weights" else None
        self._augmenter = Augmenter(read_policy(stage.augmentation), seed)
        # Sets lie class by class, and pictures are mixed with those that are read beside them.
        mixed = stage.views and self._augmenter.policy.mixes
        self._kept_order = np.random.default_rng((seed, 0)).permutation(len(train)) if mixed else np.arange(len(train))
        self._kept_at = np.argsort(self._kept_order)
        self._device = has_accelerator() if device is None else device
        self._context = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as context:
            precision = precision_here() if self.stage.precision == "auto" else self.stage.precision
            context.enter_context(computing_in(self.model, precision))
            context.enter_context(penalized(self.model, self.stage.regularizers, self._start))
            whole = self._as_trained()
            same_again = not self._augmenter.policy or self.stage.views > 0
            parts = cut(whole, _moves) if same_again else None
            self._rows = self._valid_rows = None
            self._inside = bool(self._augmenter.policy) and self._device and not self.stage.views
            if parts is not None and _is_worth_keeping(parts[0]):
                front, self.network = parts
                kept = self._scratch or Path(context.enter_context(tempfile.TemporaryDirectory(prefix="tltool-")))
                self._border = [tuple(tensor.shape[1:]) for tensor in front.outputs]
                self._front, self._folder = front, kept / self._digest(front)
            else:
                self._front = None
                self.network = augmenting(whole, self._augmenter, self._train_framing.size) if self._inside else whole
            self._context = context.pop_all()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._context.close()

    @property
    def steps_an_epoch(self) -> int:
        return -(-len(self.train) // self.stage.batch_size)

    @property
    def keeps_rows(self) -> bool:
        """Whether what the frozen part gives is read from disk; known once it is prepared."""
        return self._rows is not None

    def prepare(self, report: Report = silent, keep: bool | None = None) -> None:
        """Computes what the frozen part gives for every picture, where each is seen more than once; else nothing.

        Args:
            report: Told how many pictures are done.
            keep: Whether to keep that on disk; None for where there is room. Training goes on to the bit only if it
                does as it began.

        Raises:
            StoppedError: if it is to be kept, and there is no room.
        """
        if self._front is None or self._rows is not None:
            return
        count = max(1, self.stage.views) * len(self.train)
        rows = StoredRows(self._folder / "train", [*self._border, self._targets.shape[1:]])
        complete = rows.are_complete(count)
        fits = complete or rows.fit_in(count + len(self.valid))
        if not fits and keep is not False:
            told = f"{self._folder}: too little space to keep what the frozen layers give"
            if keep:
                raise StoppedError(f"{told}, as was done before. Make room, and resume.")
            self._say(f"{told}; they compute it anew.")
        if not fits or keep is False:
            whole = self._as_trained()
            self._front, self.network = None, whole
            return
        engine = load_engine(self._front)
        if not complete:
            rows.write(self._views(engine, report))
        self._rows = self._context.enter_context(rows)
        if self._train_framing == self._framing:
            valid = StoredRows(self._folder / "valid", self._border)
            if not valid.are_complete(len(self.valid)):
                read = self.valid.read(self._framing, ENGINE_BATCH)
                valid.write(engine(batch.pixels) for batch in read)
            self._valid_rows = self._context.enter_context(valid)

    def compile(self, optimizer: keras.optimizers.Optimizer | str) -> None:
        """Makes the network ready to be trained by this optimizer."""
        loss = stage_loss(self.train.multi_label, self.stage.label_smoothing, self.stage.focal_gamma)
        self.network.compile(optimizer=optimizer, loss=loss, jit_compile=_xla_pays())
        self.take_step = TrainStep(self.network, self._say)

    def order(self, epoch: int) -> np.ndarray:
        """Positions of the training pictures in the order of this epoch, counted from 1."""
        random = np.random.default_rng((self._seed, epoch))
        if self.balance == "sampling":
            return balanced_order(self.train.labels, random)
        return random.permutation(len(self.train))

    def batches(self, order: np.ndarray, epoch: int, done: int = 0) -> Iterator[Examples]:
        """What the steps of an epoch learn from.

        Args:
            order: Positions of training pictures, such as `order(epoch)`.
            epoch: Another one augments otherwise.
            done: Pictures at the head of the order that are passed over, as whole batches were learned from already.
        """
        again = len(self.train) * _times_before(order)  # a picture that comes again is drawn for anew
        order, drawn = order[done:], (order + again)[done:]
        view = (epoch - 1) % self.stage.views if self.stage.views else epoch
        if self._rows is not None:
            first = len(self.train) * view if self.stage.views else 0
            for start in range(0, len(order), self.stage.batch_size):
                rows = first + self._kept_at[order[start : start + self.stage.batch_size]]
                *border, targets = self._rows.read(rows)
                yield Examples(border, targets)
            return
        read = self.train.take(order).read(self._train_framing, self.stage.batch_size)
        if not self._inside:
            yield from augmented(read, self._targets[order], drawn, self._augmenter, view)
            return
        for batch in read:
            targets = self._targets[order[batch.indices]]
            yield Examples(*self._augmenter.inputs(batch.pixels, targets, drawn[batch.indices], epoch))

    def step(self, examples: Examples) -> float:
        """Trains on a batch; gives its loss, penalties included."""
        return self.take_step(examples.pixels, examples.targets, self.weights_of(examples.targets))

    def weights_of(self, targets: np.ndarray) -> np.ndarray | None:
        """What each picture of a batch counts, shape (n,); None where all count the same."""
        return None if self._class_weights is None else targets @ self._class_weights

    def predict(self) -> np.ndarray:
        """The classifier's logits for the validation pictures, shape (N, classes)."""
        if self._valid_rows is None:
            return predict_logits(self.model, self.valid, self._framing)
        starts = range(0, len(self.valid), EVALUATION_BATCH)
        chunks = [range(start, min(start + EVALUATION_BATCH, len(self.valid))) for start in starts]
        return np.concatenate([predicted(self.network, self._valid_rows.read(chunk)) for chunk in chunks])

    def recompute_statistics(self) -> None:
        """Gives the BatchNorm layers that learn their statistics those of the weights that the classifier has now.

        They are measured on the training pictures, as they are: without augmentation, in the size of validation.
        """
        norms = [
            layer.name
            for layer in self.model.layers
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        ]
        if self.stage.statistics == "learned" and norms:
            with closing(self.train.read(self._framing, EVALUATION_BATCH)) as read:
                batches = (batch.pixels for batch in read if len(batch.indices))
                self.model.set_weights(recomputed_statistics(self.model, batches, norms))

    def predict_some(self) -> int:
        """Predicts a batch of them, to see how long that takes; gives how many they are."""
        some = range(min(EVALUATION_BATCH, len(self.valid)))
        if self._valid_rows is None:
            return len(predict_logits(self.model, self.valid.take(some), self._framing))
        return len(predicted(self.network, self._valid_rows.read(some)))

    def clear(self) -> None:
        """Deletes what was kept on disk for this stage."""
        if self._front is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _digest(self, front: keras.Model) -> str:
        """Of all that the kept rows depend on."""
        digest = hashlib.sha256()
        for weight in front.weights:
            digest.update(keras.ops.convert_to_numpy(weight).tobytes())
        about = [self._augmenter.policy.digest, self.stage.views, self._train_framing.size, len(self.train)]
        about += [self._seed if self.stage.views else 0, self._border]
        digest.update(repr(about).encode())
        return f"frozen-{digest.hexdigest()[:16]}"

    def _as_trained(self) -> keras.Model:
        network = regularized(self.model, self.stage.regularizers, self._seed)
        if self.stage.statistics == "kept":
            network = _statistics_kept(network)
        if not self._device:
            network = quickened(network)
        size = self._train_framing.size
        if network.input.shape[1] == size:
            return network
        try:
            return rebuilt(network, Changes(), (None, size, size, network.input.shape[-1]))
        except ValueError as error:
            raise RecipeError(
                f"Stage '{self.stage.name}', image_size = {size}: {self.model.name} does not take pictures of that "
                f'size in training ({str(error).splitlines()[0]}). Write "full".'
            ) from error

    def _views(self, engine: Callable, report: Report) -> Iterator[list[np.ndarray]]:
        """Rows of the frozen part's results, picture after picture as `_kept_order` has them, view after view."""
        order, views, done = self._kept_order, max(1, self.stage.views), 0
        pictures = self.train.take(order)
        for view in range(views):
            read = pictures.read(self._train_framing, self.stage.batch_size)
            for examples in augmented(read, self._targets[order], order, self._augmenter, view):
                for start in range(0, len(examples.pixels), ENGINE_BATCH):
                    part = slice(start, start + ENGINE_BATCH)
                    yield [*engine(examples.pixels[part]), examples.targets[part]]
                done += len(examples.pixels)
                report(f"Frozen layers, {self.stage.name}", done, views * len(order))


def _class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """What a picture of each class counts, shape (classes,); 0 for a class without pictures."""
    weights = np.zeros(classes, np.float32)
    weights[labels] = picture_weights(labels, classes)
    return weights


def _times_before(order: np.ndarray) -> np.ndarray:
    """How often each entry has come before, shape (n,)."""
    places = np.argsort(order, kind="stable")
    first = np.searchsorted(order[places], order)
    return np.argsort(places) - first


def _is_worth_keeping(front: keras.Model) -> bool:
    """Whether there is more to it than preparing pixels, which are kept as bytes already."""
    layers = [layer for layer in front.layers if not layer.name.startswith(PREPROCESSING)]
    return any(len(weight.shape) > 1 for layer in layers for weight in layer.weights)


def _moves(call: Call) -> bool:
    """Whether a call gives another result after a step, or at every look."""
    layer = call.operation
    if not isinstance(layer, keras.layers.Layer):
        return False
    by_chance = len(layer.variables) > len(layer.weights)  # the state of a random generator is no weight
    return bool(layer.trainable_weights) or by_chance


def _statistics_kept(network: keras.Model) -> keras.Model:
    """The network with each BatchNorm that is trained, all but its statistics."""
    norms = [call for call in calls_of(network) if isinstance(call.operation, keras.layers.BatchNormalization)]
    trained = {call: KeptStatistics(call.operation) for call in norms if call.operation.trainable_weights}
    return rebuilt(network, Changes(instead=trained)) if trained else network


def _xla_pays() -> bool | str:
    """XLA is ten times slower on CPUs for depthwise networks, and faster on accelerators."""
    return "auto" if keras.backend.backend() != "tensorflow" else has_accelerator()
