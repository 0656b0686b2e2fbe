"""`RandomLensDistortion` as a layer of Keras itself, for either backend, and for tf.data with either."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras

from tltool.augment import through_lens
from tltool.augment.lens_distortion import LensDistortion

# Keras 3.15 has no public name for what its own random layers are built on.
_Base = keras.layers.RandomRotation.__base__


class RandomLensDistortion(LensDistortion, _Base):
    __doc__ = LensDistortion.__doc__

    def _set_generator(self, seed: int | None) -> None:
        self.generator = keras.random.SeedGenerator(seed)

    def get_random_transformation(self, data: Any, training: bool = True, seed: Any = None) -> dict | None:
        if not training:
            return None
        images = data["images"] if isinstance(data, dict) else data
        if isinstance(data, dict) and "bounding_boxes" in data:
            self._check_format()
        shape = list(self.backend.shape(images))
        shape.pop(-3 if self.data_format == "channels_first" else -1)
        generator = self._get_seed_generator(self.backend.name) if seed is None else seed
        strengths = self.backend.random.uniform((shape[0] if len(shape) == 3 else 1,), *self._ends(), seed=generator)
        return {"strengths": strengths, "height": shape[-2], "width": shape[-1]}

    def transform_images(self, images: Any, transformation: dict | None, training: bool = True) -> Any:
        return self._shown(images, transformation, training, through_lens.pictures, self.interpolation)

    def transform_segmentation_masks(
        self, segmentation_masks: Any, transformation: dict | None, training: bool = True
    ) -> Any:
        return self._shown(segmentation_masks, transformation, training, through_lens.masks, self.segmentation_classes)

    def transform_labels(self, labels: Any, transformation: dict | None, training: bool = True) -> Any:
        return labels

    def transform_bounding_boxes(self, bounding_boxes: Any, transformation: dict | None, training: bool = True) -> Any:
        if not training:
            return bounding_boxes
        ops, convert = self._ops(), keras.utils.bounding_boxes.convert_format
        size = {side: transformation[side] for side in ("height", "width")}
        sizes = (ops.reshape(ops.cast(side, "float32"), (1, 1, 1)) for side in size.values())
        boxes = convert(bounding_boxes["boxes"], self.bounding_box_format, "xyxy", **size)
        moved = {**bounding_boxes, "boxes": through_lens.boxes(boxes, transformation["strengths"], *sizes, ops)}
        moved = keras.utils.bounding_boxes.clip_to_image_size(moved, **size, bounding_box_format="xyxy")
        return convert(moved, "xyxy", self.bounding_box_format, **size)

    def _shown(self, images: Any, transformation: dict | None, training: bool, show: Callable, how: Any) -> Any:
        images, ops = self.backend.cast(images, self.compute_dtype), self._ops()
        if not training:
            return images
        first = self.data_format == "channels_first"
        pictures = ops.moveaxis(images, 1, 3) if first else images
        shown = ops.cast(show(pictures, transformation["strengths"], how, ops), self.compute_dtype)
        return ops.moveaxis(shown, 3, 1) if first else shown

    def _ops(self) -> Any:
        """`keras.ops`, or the same functions for TensorFlow's tensors, which tf.data has for all backends."""
        if self.backend.name == keras.backend.backend():
            return keras.ops
        return SimpleNamespace(**{**vars(self.backend.numpy), "cast": self.backend.cast, "shape": self.backend.shape})

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape
