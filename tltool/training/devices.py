"""What training runs on: one device, or several that share each batch."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from tltool.features.engine import has_accelerator

BFLOAT16_FROM = 8.0  # compute capability of NVIDIA's devices, Ampere, which is the first with it

log = logging.getLogger(__name__)


@contextmanager
def distribution(devices: Sequence[str] | None = None) -> Iterator[None]:
    """While it is entered, models that are built are copied to all devices, and `TrainStep` shares batches among them.

    TensorFlow does it by MirroredStrategy, JAX by Keras's DataParallel; on one device, or on CPUs, nothing changes.

    Args:
        devices: Names as `keras.distribution.list_devices` gives them; all accelerators where None.
    """
    if devices is None:
        devices = keras.distribution.list_devices() if has_accelerator() else []
    if len(devices) < 2:
        yield
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.distribute.MirroredStrategy([device.replace("gpu:", "GPU:") for device in devices]).scope():
            yield
    else:
        before = keras.distribution.distribution()
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=list(devices)))
        try:
            yield
        finally:
            keras.distribution.set_distribution(before)


def replicas() -> int:
    """How many devices share a batch."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.distribute.get_strategy().num_replicas_in_sync
    spread = keras.distribution.distribution()
    return 1 if spread is None else spread.device_mesh.devices.size


def precision_here() -> str:
    """What an accelerator computes fastest in without a loss that shows: "mixed_bfloat16" where it has it."""
    if has_accelerator() and _has_bfloat16():
        return "mixed_bfloat16"
    return "float32"


def _has_bfloat16() -> bool:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        found = [tf.config.experimental.get_device_details(device) for device in tf.config.list_physical_devices("GPU")]
        capabilities = [details.get("compute_capability", (0, 0)) for details in found]
        return bool(capabilities) and all(float(f"{major}.{minor}") >= BFLOAT16_FROM for major, minor in capabilities)
    if keras.backend.backend() == "jax":
        import jax

        return all(_jax_has_bfloat16(device) for device in jax.devices())
    return False


def _jax_has_bfloat16(device: Any) -> bool:
    if device.platform == "tpu":
        return True
    capability = getattr(device, "compute_capability", "0")
    try:
        return device.platform in ("gpu", "cuda") and float(capability) >= BFLOAT16_FROM
    except ValueError:  # AMD's are names
        log.info("%s: its capability %s says nothing of bfloat16; float32 it is.", device, capability)
        return False
