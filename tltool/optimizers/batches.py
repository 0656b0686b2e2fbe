"""A set in any of its forms, gone through again and again in batches of NumPy arrays."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from tltool.errors import OptimizerError
from tltool.optimizers.arguments import AT_LEAST_ONE, check_arguments

Batch = tuple[Any, Any, Any]  # x, y and sample weights or None, each one array or several in a structure


class Batches:
    """Every pass gives all batches, each with its number of examples.

    Args:
        owner: Name of the optimizer, for messages.
        data: See `LBFGS.minimize`.
        batch_size: Examples at once where `data` are arrays.

    Raises:
        OptimizerError: if the set is empty, can be gone through only once, or is not examples with targets.

    Attributes:
        rows: Examples in all.
    """

    def __init__(self, owner: str, data: Any, batch_size: int):
        check_arguments(owner, {"batch_size": batch_size}, {"batch_size": AT_LEAST_ONE})
        self.owner = owner
        self.data = data
        self.batch_size = batch_size
        if isinstance(data, Iterator):
            raise OptimizerError(
                f"{owner}: the data can be gone through only once, but every evaluation needs the whole set. "
                "Give arrays, a list, or a function that makes a new iterator each time."
            )
        if not (isinstance(data, keras.utils.PyDataset) or hasattr(data, "__iter__") or callable(data)):
            raise OptimizerError(f"{owner}: cannot go through a {type(data).__name__} as data. {self._wanted()}")
        endless = isinstance(data, keras.utils.PyDataset) and data.num_batches is None
        if endless or (hasattr(data, "cardinality") and int(data.cardinality()) == -1):
            raise OptimizerError(f"{owner}: the data have no end. Give a set of so many batches, without repeat().")
        if isinstance(data, tuple):
            self.data, _ = self._checked(data)
        self.rows = sum(rows for _, rows in self._pass())
        if not self.rows:
            raise OptimizerError(f"{owner}: the set is empty. At least one example is needed.")

    def __iter__(self) -> Iterator[tuple[Batch, int]]:
        found = 0
        for batch, rows in self._pass():
            found += rows
            if rows:
                yield batch, rows
        if found != self.rows:
            raise OptimizerError(
                f"{self.owner}: the data gave {self.rows} examples at first and {found} later. Every pass must give "
                "the same ones; a function must make a new iterator at each call."
            )

    def example(self) -> Batch:
        """The first example, as a batch of one."""
        return mapped(lambda array: array[:1], next(batch for batch, rows in self._pass() if rows))

    def _pass(self) -> Iterator[tuple[Batch, int]]:
        if isinstance(self.data, tuple):
            rows = _rows(self.data)[0]
            for at in range(0, rows, self.batch_size):
                end = min(at + self.batch_size, rows)
                yield mapped(lambda array, at=at, end=end: array[at:end], self.data), end - at
        elif isinstance(self.data, keras.utils.PyDataset):
            # By number: Python's own loop waits for an IndexError, which such a set need not raise.
            yield from (self._checked(self.data[index]) for index in range(self.data.num_batches))
        else:
            batches = self.data() if callable(self.data) else self.data
            if not hasattr(batches, "__iter__"):
                raise OptimizerError(f"{self.owner}: the function gave a {type(batches).__name__}, no batches.")
            yield from map(self._checked, batches)

    def _checked(self, batch: Any) -> tuple[Batch, int]:
        """A batch in NumPy arrays, and its number of examples."""
        if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
            raise OptimizerError(f"{self.owner}: a batch is a {type(batch).__name__}. {self._wanted()}")
        batch = mapped(_array, batch)
        rows = _rows(batch)
        if batch[0] is None or batch[1] is None or None in rows:
            raise OptimizerError(f"{self.owner}: the data hold something other than arrays. {self._wanted()}")
        if len(set(rows)) > 1:
            raise OptimizerError(
                f"{self.owner}: x, y and sample weights hold {', '.join(map(str, rows))} examples. "
                "They must be equally many."
            )
        return (*batch, None)[:3], rows[0]

    @staticmethod
    def _wanted() -> str:
        return "Give (x, y) or (x, y, sample_weight) of arrays, or batches of these."


def _rows(batch: tuple) -> list[int | None]:
    """The lengths of all arrays; None for what has none."""
    arrays = [array for part in batch if part is not None for array in keras.tree.flatten(part)]
    return [array.shape[0] if array.ndim else None for array in arrays]


def mapped(function: Callable[[Any], Any], batch: tuple) -> tuple:
    """A batch with a function applied to each of its arrays; missing weights stay missing."""
    return tuple(None if part is None else keras.tree.map_structure(function, part) for part in batch)


def _array(value: Any) -> np.ndarray:
    """Double precision becomes what Keras computes in, as in `fit`: a loss of one's own may not take both."""
    array = np.asarray(value)
    return array.astype(keras.config.floatx()) if array.dtype == np.float64 else array
