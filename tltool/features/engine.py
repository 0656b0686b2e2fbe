"""Runs a frozen network over batches of pictures, as fast as the machine can.

On a CPU that is OpenVINO in float32 (relative difference from Keras about 1e-6); on an accelerator it is Keras.
"""

import importlib
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np

# Small batches keep every layer's activations in the second-level cache; on two cores 32 were a sixth slower than 8.
ENGINE_BATCH = 8

Engine = Callable[[np.ndarray], list[np.ndarray]]
log = logging.getLogger(__name__)
_converted: "WeakKeyDictionary[keras.Model, Any]" = WeakKeyDictionary()  # networks as OpenVINO holds them


def load_engine(model: keras.Model, outputs: Sequence[int] | None = None) -> Engine:
    """A function from pictures, shape (n, h, w, 3), float32 in [0, 255], to the model's outputs, a list of arrays.

    Args:
        model: Its weights stay as they are from now on: what was converted of it is used again.
        outputs: Positions of those that are wanted; all where None. Nothing is computed for the others.
    """
    wanted = range(len(model.outputs)) if outputs is None else outputs
    if has_accelerator():
        return _keras_engine(model, wanted)
    try:
        return _openvino_engine(model, wanted)
    except Exception as error:  # a layer that OpenVINO does not know fails in ways of its own; Keras still runs it
        log.warning("OpenVINO cannot run %s (%s); Keras runs it instead, more slowly.", model.name, error)
        return _keras_engine(model, wanted)


def has_accelerator() -> bool:
    """Whether Keras computes on something faster than this machine's processor."""
    # Without a type: JAX raises for a type of which there is no device. CPUs come only where there is nothing else.
    return not all(device.lower().startswith("cpu") for device in keras.distribution.list_devices())


def _keras_engine(model: keras.Model, wanted: Sequence[int]) -> Engine:
    part = keras.Model(model.input, [model.outputs[index] for index in wanted])

    def run(pictures: np.ndarray) -> list[np.ndarray]:
        outputs = part.predict_on_batch(pictures)
        return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]

    return run


def _openvino_engine(model: keras.Model, wanted: Sequence[int]) -> Engine:
    openvino = _import_openvino()
    # f32: the default on CPUs with bfloat16 units is bfloat16, which moves features by 7 %. Threads that are not pinned
    # make room for those that decode the next pictures.
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
    if model not in _converted:
        _converted[model] = _convert(model)
    whole = _converted[model]
    part = openvino.Model([whole.get_results()[index] for index in wanted], whole.get_parameters(), model.name)
    compiled = openvino.Core().compile_model(part, "CPU", options)

    def run(pictures: np.ndarray) -> list[np.ndarray]:
        results = compiled(np.ascontiguousarray(pictures, dtype=np.float32))
        return [np.array(results[index]) for index in range(len(compiled.outputs))]

    return run


def _convert(model: keras.Model):
    """The network as OpenVINO holds it."""
    openvino = _import_openvino()
    if keras.backend.backend() == "tensorflow":
        # Straight from the traced function: half the time of Keras's own export, which goes through files.
        import tensorflow

        shape = (None, *model.input.shape[1:])
        signature = [tensorflow.TensorSpec(shape, tensorflow.float32)]
        traced = tensorflow.function(
            lambda pictures: model(pictures, training=False), input_signature=signature, autograph=False
        )
        return openvino.convert_model(traced.get_concrete_function())
    with tempfile.TemporaryDirectory(prefix="tltool-engine-") as folder:
        file = Path(folder) / "network.xml"
        model.export(str(file), format="openvino", verbose=False)
        core = openvino.Core()
        core.set_property({"ENABLE_MMAP": False})  # a mapped file cannot be deleted on Windows
        return core.read_model(file)


def _import_openvino():
    # Its converter reports every call to a server of its maker's, unless that part looks as if it were not installed.
    # tltool is promised to keep to this machine; a name that is None cannot be imported.
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)
    return importlib.import_module("openvino")
