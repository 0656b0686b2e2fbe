"""What a run was made with."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("tltool", "keras", "tensorflow", "jax", "openvino", "numpy", "scipy", "scikit-learn", "pillow")


def versions() -> dict[str, Any]:
    """Versions of the packages that decide a run's numbers, and the machine they ran on."""
    import keras

    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    devices = [str(device) for device in keras.distribution.list_devices()]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": found,
        "keras_backend": keras.backend.backend(),
        "devices": devices,
    }
