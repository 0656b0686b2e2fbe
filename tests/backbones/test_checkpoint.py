"""Checkpoint files are written here opcode by opcode, in the layout of `torch.save`, so that no PyTorch is needed."""

import io
import pickle
import random
import struct
import tracemalloc

import numpy as np
import pytest

from tltool.backbones.checkpoint import MAGIC, PROTOCOL, read_checkpoint
from tltool.errors import WeightsError

ORDERED_DICT = b"ccollections\nOrderedDict\n"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def plain(value) -> bytes:
    """Opcodes that push the value."""
    return pickle.dumps(value, 2)[2:-1]


def tensor(kind: str, key: str, count: int, offset: int, shape: tuple, strides: tuple) -> bytes:
    storage = b"(" + plain("storage") + f"ctorch\n{kind}\n".encode() + plain(key) + plain("cpu") + plain(count)
    storage += plain(None) + b"tQ"
    arguments = storage + plain(offset) + plain(shape) + plain(strides) + plain(False) + ORDERED_DICT + b")R"
    return REBUILD + b"(" + arguments + b"tR"


def checkpoint(tensors: dict[str, bytes], storages: dict[str, np.ndarray], metadata: bytes = b"") -> bytes:
    body = b"".join(plain(name) + code for name, code in tensors.items())
    state = b"\x80\x02" + ORDERED_DICT + b")R(" + body + b"u" + metadata + b"."
    file = io.BytesIO()
    for value in (MAGIC, PROTOCOL, {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {}}):
        pickle.dump(value, file, 2)
    file.write(state)
    pickle.dump(list(storages), file, 2)
    for array in storages.values():
        file.write(struct.pack("<q", array.size) + array.tobytes())
    return file.getvalue()


@pytest.fixture
def storages():
    return {
        "0": np.arange(12, dtype="<f4"),
        "1": np.arange(4, dtype="<f2") / 2,
        "2": np.array([7], "<i8"),
        "3": np.array([1, -2, 3], "<i4"),
        "4": np.array([0.5, 0.25], "<f8"),
    }


@pytest.fixture
def good(storages):
    tensors = {
        "conv.weight": tensor("FloatStorage", "0", 12, 0, (3, 4), (4, 1)),
        "transposed": tensor("FloatStorage", "0", 12, 0, (4, 3), (1, 4)),
        "slice": tensor("FloatStorage", "0", 12, 1, (3, 2), (4, 2)),
        "half": tensor("HalfStorage", "1", 4, 0, (2, 2), (2, 1)),
        "num_batches_tracked": tensor("LongStorage", "2", 1, 0, (), ()),
        "int": tensor("IntStorage", "3", 3, 0, (3,), (1,)),
        "double": tensor("DoubleStorage", "4", 2, 0, (2,), (1,)),
        "empty": tensor("FloatStorage", "0", 12, 0, (0, 4), (4, 1)),
    }
    return checkpoint(tensors, storages, metadata=plain({"_metadata": {"version": 1}}) + b"b")


def write(folder, data: bytes):
    path = folder / "weights.pth"
    path.write_bytes(data)
    return path


def refused(folder, data: bytes, match: str) -> None:
    with pytest.raises(WeightsError, match=match) as caught:
        read_checkpoint(write(folder, data))
    assert "\n" not in str(caught.value)


def test_tensors_of_every_type_and_layout(tmp_path, good):
    tensors = read_checkpoint(write(tmp_path, good))
    grid = np.arange(12, dtype="f4").reshape(3, 4)
    expected = {
        "conv.weight": grid,
        "transposed": grid.T,
        "slice": grid[:, 1::2],
        "half": np.array([[0, 0.5], [1, 1.5]], "f2"),
        "num_batches_tracked": np.array(7),
        "int": np.array([1, -2, 3], "i4"),
        "double": np.array([0.5, 0.25]),
        "empty": np.zeros((0, 4), "f4"),
    }
    assert list(tensors) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(tensors[name], array, strict=True)


def test_tensors_of_one_storage_do_not_share_memory(tmp_path, good):
    tensors = read_checkpoint(write(tmp_path, good))
    tensors["conv.weight"][:] = -1
    assert tensors["transposed"].min() == 0


@pytest.mark.parametrize("call", [b"cos\nsystem\n", b"cbuiltins\neval\n", b"cnumpy\nload\n", b"ctorch\nload\n"])
def test_calls_are_refused_and_not_made(tmp_path, call, storages):
    witness = tmp_path / "witness"
    command = f"touch {witness}" if b"os" in call else f"open({str(witness)!r}, 'w')"
    refused(tmp_path, checkpoint({"a": call + b"(" + plain(command) + b"tR"}, storages), "not allowed")
    assert not witness.exists()


def test_a_call_as_the_first_pickle_is_refused(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "witness"), "w"))

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        refused(tmp_path, pickle.dumps(Hostile(), protocol), "not allowed")
    assert not (tmp_path / "witness").exists()


def test_state_is_never_set(tmp_path, good, storages):
    """A file that sets attributes of the function it may call changes nothing."""
    tensors = {"a": REBUILD + plain({"__doc__": "changed"}) + b"b"}
    refused(tmp_path, checkpoint(tensors, storages), "something else than a flat dictionary")
    assert len(read_checkpoint(write(tmp_path, good))) == 8


@pytest.mark.parametrize(
    ("fault", "match"),
    [
        (tensor("FloatStorage", "0", 12, 1, (3, 4), (4, 1)), "past the end"),
        (tensor("FloatStorage", "0", 12, 0, (3, 4), (4,)), "do not match"),
        (tensor("FloatStorage", "0", 12, 11, (2,), (-1,)), "do not match"),
        (tensor("FloatStorage", "0", 12, 0, (10**12,), (0,)), "larger than the file"),
        (tensor("FloatStorage", "9", 12, 0, (3, 4), (4, 1)), "not those that its tensors use"),
        (tensor("ByteStorage", "0", 12, 0, (3, 4), (4, 1)), "torch.ByteStorage, which is not allowed"),
        (plain([1, 2]), "flat dictionary"),
    ],
)
def test_tensors_that_cannot_be_are_refused(tmp_path, storages, fault, match):
    refused(tmp_path, checkpoint({"a": fault}, {"0": storages["0"]}), match)


def test_other_files_are_refused_with_a_way_out(tmp_path):
    for data in (b"", b"PK\x03\x04 a newer checkpoint", b"\x89HDF\r\n", pickle.dumps({"a": 1})):
        refused(tmp_path, data, "not a plain PyTorch checkpoint.*_use_new_zipfile_serialization=False")


def test_a_missing_file_or_a_folder_is_named(tmp_path):
    for path in (tmp_path / "nowhere.pth", tmp_path):
        with pytest.raises(WeightsError, match=rf"{path.name}: cannot be read"):
            read_checkpoint(path)


def test_truncated_files_are_refused(tmp_path, good):
    for length in [*range(0, len(good), 50), *range(len(good) - 8, len(good))]:
        with pytest.raises(WeightsError):
            read_checkpoint(write(tmp_path, good[:length]))


def test_damaged_files_are_read_or_refused_in_little_memory(tmp_path, good):
    """Nothing but a dictionary or a WeightsError comes out, and no claimed size is reserved."""
    rng = random.Random(0)
    tracemalloc.start()
    try:
        for _ in range(1500):
            data = bytearray(good)
            for _ in range(rng.choice((1, 1, 2, 8))):
                data[rng.randrange(len(data))] = rng.choice((rng.randrange(256), 0, 255, ord("r"), ord("j")))
            try:
                tensors = read_checkpoint(write(tmp_path, bytes(data)))
            except WeightsError:
                continue
            assert all(isinstance(array, np.ndarray) for array in tensors.values())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize(
    "claim",
    [
        b"r\xff\xff\xff\x7f",  # LONG_BINPUT: a memo of two thousand million entries
        b"\x8e" + b"\xff" * 5 + b"\0" * 3,  # BINBYTES8 of a terabyte
        b"\x96" + b"\xff" * 5 + b"\0" * 3,  # BYTEARRAY8 of a terabyte
        b"\x95" + b"\xff" * 5 + b"\0" * 3,  # FRAME of a terabyte
        b"\x8b\xff\xff\xff\x7f",  # LONG4 of two gigabytes
    ],
)
def test_claimed_sizes_reserve_nothing(tmp_path, claim):
    tracemalloc.start()
    try:
        refused(tmp_path, b"\x80\x05N" + claim + b".", "not a plain PyTorch checkpoint")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20
