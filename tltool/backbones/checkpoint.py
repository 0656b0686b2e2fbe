"""Reads PyTorch's legacy checkpoint files (`.pth` as written before PyTorch 1.6) without PyTorch.

The format is a run of pickles: magic number, protocol version, system information, the object itself (its tensors
are references to storages), the list of storage keys; then, for each key, an element count and the raw elements.
A pickle can call any function and claim any size, so the unpickler here knows seven names, treats every other one as an
error, and no claim is believed beyond the bytes that are in the file.

Source of the layout: `torch.serialization._legacy_save`.
"""

import io
import math
import pickle
import struct
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from tltool.errors import WeightsError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
STORAGE_DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}


def read_checkpoint(path: str | Path) -> dict[str, np.ndarray]:
    """Tensors of a legacy PyTorch state dictionary, by name.

    Args:
        path: A file holding one flat `state_dict`.

    Returns:
        Name to array, in the order of the file.

    Raises:
        WeightsError: if the file is missing, is not such a checkpoint, or asks for anything but tensors.
    """
    path = Path(path)
    try:
        return _read(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}).") from None
    except _DAMAGE as error:
        raise WeightsError(
            f"{path}: not a plain PyTorch checkpoint of tensors ({_reason(error)}). Save the weights with "
            "`torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)`, or give a Keras "
            "`.weights.h5` file."
        ) from None


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


# What the standard unpickler, struct and NumPy answer a damaged or hostile file with.
_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
    RecursionError,
    struct.error,
)

# Weights that two layers share appear twice; nothing honest repeats its elements more often.
MOST_REPEATS = 4


@dataclass(frozen=True)
class _StorageType:
    """What a storage type's name in the file becomes."""

    dtype: np.dtype


@dataclass(frozen=True)
class _Storage:
    """Where the elements of some tensors lie: a key into the tail of the file."""

    key: str
    dtype: np.dtype
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage, offset, shape, strides, *_ignored) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


# The unpickler in Python, not the faster one in C: that one reserves memory by what the file claims (a memo index of
# four bytes is 64 GiB), this one reads from the bytes that are there.
class _RestrictedUnpickler(pickle._Unpickler):
    """Adding a name here lets a checkpoint call it: keep the list to types that only hold data."""

    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str):
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in STORAGE_DTYPES:
            return _StorageType(STORAGE_DTYPES[name])
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is not allowed")

    def persistent_load(self, reference) -> _Storage:
        kind, storage_type, key, _device, count, *_view = reference
        if kind != "storage" or not isinstance(storage_type, _StorageType):
            raise pickle.UnpicklingError("it refers to something else than a storage")
        return _Storage(str(key), storage_type.dtype, int(count))

    def _drop_state(self) -> None:
        # State dictionaries carry a `_metadata` that nothing here needs. Setting it would let a file set any attribute.
        self.stack.pop()

    def _refuse(self) -> None:
        raise pickle.UnpicklingError("it asks for a buffer, which state dictionaries do not hold")

    dispatch[pickle.BUILD[0]] = _drop_state
    dispatch[pickle.BYTEARRAY8[0]] = _refuse  # reserves what the file claims


def _read(data: bytes) -> dict[str, np.ndarray]:
    file = io.BytesIO(data)
    if _RestrictedUnpickler(file).load() != MAGIC:
        raise ValueError("wrong magic number")
    if _RestrictedUnpickler(file).load() != PROTOCOL:
        raise ValueError("unknown protocol version")
    system = _RestrictedUnpickler(file).load()
    if not system.get("little_endian", True):
        raise ValueError("big-endian checkpoints are not supported")
    tensors = _RestrictedUnpickler(file).load()
    if not isinstance(tensors, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, _Tensor) for name, tensor in tensors.items()
    ):
        raise ValueError("it holds something else than a flat dictionary of tensors")
    keys = _RestrictedUnpickler(file).load()

    dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
    elements = {}
    if set(keys) != set(dtypes):
        raise ValueError("its storages are not those that its tensors use")
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        size = count * dtypes[key].itemsize
        if not 0 <= size <= len(data) - file.tell():
            raise EOFError(f"storage {key} is cut short")
        elements[key] = np.frombuffer(data, dtypes[key], count, file.tell())
        file.seek(size, io.SEEK_CUR)
    if sum(abs(math.prod(t.shape)) * t.storage.dtype.itemsize for t in tensors.values()) > MOST_REPEATS * len(data):
        raise ValueError("its tensors are larger than the file")
    return {name: _view(tensor, elements) for name, tensor in tensors.items()}


def _view(tensor: _Tensor, elements: dict[str, np.ndarray]) -> np.ndarray:
    storage = elements[tensor.storage.key]
    if len(tensor.shape) != len(tensor.strides) or min((tensor.offset, *tensor.shape, *tensor.strides), default=0) < 0:
        raise ValueError("a tensor's shape and strides do not match")
    last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True))
    if 0 not in tensor.shape and last >= len(storage):
        raise ValueError("a tensor reaches past the end of its storage")
    strides = tuple(s * storage.itemsize for s in tensor.strides)
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides).copy()
