"""What the two forms of `RandomLensDistortion`, keras-cv's and Keras's, have in common."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from tltool.augment.lens import LARGEST_STRENGTH, SMALLEST_STRENGTH
from tltool.augment.through_lens import INTERPOLATIONS
from tltool.errors import AugmentError


class LensDistortion:
    """Shows pictures through other lenses: straight lines bulge outward (barrel) or inward (pincushion).

    Nothing outside of a picture is ever shown, so that nothing needs filling. Bounding boxes become the smallest ones
    around what they held, cut off at the edge of the picture; key points move, out of the picture too; labels stay.

    Input: pictures of shape (B, H, W, C) or (H, W, C), values of any range; or a dictionary with them as "images", and
    with what else is known of them, as other layers of keras-cv, or of Keras, take it. Only keras-cv knows "keypoints".

    Args:
        factor: A pair between which the strength of each picture is drawn, in [-0.3, 0.5], or a number f for (-f, f):
            barrel above 0, pincushion below. See `tltool.augment.lens.lens_scale`.
        interpolation: "bilinear" or "nearest".
        bounding_box_format: As keras-cv or Keras names it, such as "xyxy"; needed with bounding boxes only.
        segmentation_classes: How many classes masks know that hold the number of one in each pixel: these are read
            between pixels as pictures are, and the class with the largest share wins. Where None, a pixel of a mask
            holds what the nearest one did.
        seed: Of all draws, a whole number; another one each time where None.

    Raises:
        AugmentError: if an argument is out of range, or boxes come without a format.
    """

    def __init__(
        self,
        factor: float | Sequence[float],
        interpolation: str = "bilinear",
        bounding_box_format: str | None = None,
        segmentation_classes: int | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        check_arguments(factor, interpolation, segmentation_classes, seed)
        super().__init__(**kwargs)
        self.factor = factor
        self.interpolation = interpolation
        self.bounding_box_format = bounding_box_format
        self.segmentation_classes = segmentation_classes
        self.seed = seed
        self._set_generator(seed)

    def _ends(self) -> tuple[float, float]:
        """What strengths are drawn between."""
        return (-self.factor, self.factor) if isinstance(self.factor, Real) else tuple(self.factor)

    def _check_format(self) -> None:
        if self.bounding_box_format is None:
            raise AugmentError(
                "RandomLensDistortion: given bounding boxes, but not how they are written. Pass "
                '`bounding_box_format`, such as "xyxy".'
            )

    def get_config(self) -> dict[str, Any]:
        names = ("factor", "interpolation", "bounding_box_format", "segmentation_classes", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def check_arguments(factor: Any, interpolation: Any, segmentation_classes: Any, seed: Any) -> None:
    """Checks those of `RandomLensDistortion`.

    Raises:
        AugmentError: listing every fault.
    """
    faults = []
    low, high = SMALLEST_STRENGTH, LARGEST_STRENGTH
    ends = (-factor, factor) if isinstance(factor, Real) else factor
    pair = isinstance(ends, list | tuple) and len(ends) == 2 and all(isinstance(end, Real) for end in ends)
    if not (pair and low <= ends[0] <= ends[1] <= high):
        rule = f"a pair in [{low}, {high}], the smaller first, or a number in [0, {-low}]"
        faults.append(f"`factor` = {factor!r}: must be {rule}.")
    if interpolation not in INTERPOLATIONS:
        known = ", ".join(f'"{name}"' for name in INTERPOLATIONS)
        faults.append(f"`interpolation` = {interpolation!r}: must be one of {known}.")
    if segmentation_classes is not None and not (_whole(segmentation_classes) and segmentation_classes >= 1):
        faults.append(f"`segmentation_classes` = {segmentation_classes!r}: must be a whole number above 0, or None.")
    if seed is not None and not _whole(seed):
        faults.append(f"`seed` = {seed!r}: must be a whole number, or None.")
    if faults:
        raise AugmentError("\n".join(f"RandomLensDistortion: {fault}" for fault in faults))


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
