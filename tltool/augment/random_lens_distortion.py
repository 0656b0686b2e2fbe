"""`RandomLensDistortion`: an augmentation layer of keras-cv, which has none for lenses, or the same layer of Keras.

keras-cv's where it can be imported and TensorFlow computes, else Keras's. The same strengths give the same pictures,
and a model saved with one loads with the other.
"""

from typing import Any

import keras

from tltool.augment import through_lens
from tltool.augment.lens_distortion import LensDistortion

try:
    import keras_cv
except ImportError:
    keras_cv = None

if keras_cv is not None and keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    class RandomLensDistortion(LensDistortion, keras_cv.layers.VectorizedBaseImageAugmentationLayer):
        __doc__ = LensDistortion.__doc__

        def _set_generator(self, seed: int | None) -> None:
            # keras-cv would take the seed 0 for none, and share a generator with all that have none.
            if seed is not None:
                self._random_generator = tf.random.Generator.from_seed(seed)

        def get_random_transformation_batch(self, batch_size: Any, **kwargs: Any) -> dict[str, Any]:
            return {"strengths": self._random_generator.uniform((batch_size,), *self._ends())}

        def augment_images(self, images: Any, transformations: dict[str, Any], **kwargs: Any) -> Any:
            shown = through_lens.pictures(images, transformations["strengths"], self.interpolation)
            return tf.ensure_shape(tf.cast(shown, self.compute_dtype), images.shape)

        def augment_ragged_image(self, image: Any, transformation: dict[str, Any], **kwargs: Any) -> Any:
            return self.augment_images(image[None], {"strengths": transformation["strengths"][None]})[0]

        def augment_labels(self, labels: Any, transformations: dict[str, Any], **kwargs: Any) -> Any:
            return labels

        def augment_bounding_boxes(
            self, bounding_boxes: Any, transformations: dict[str, Any], raw_images: Any = None, **kwargs: Any
        ) -> Any:
            self._check_format()
            boxes, convert = keras_cv.bounding_box.to_dense(bounding_boxes), keras_cv.bounding_box.convert_format
            boxes = convert(boxes, self.bounding_box_format, "xyxy", images=raw_images, dtype="float32")
            moved = through_lens.boxes(boxes["boxes"], transformations["strengths"], *_sizes(raw_images))
            boxes = keras_cv.bounding_box.clip_to_image({**boxes, "boxes": moved}, "xyxy", images=raw_images)
            return convert(boxes, "xyxy", self.bounding_box_format, images=raw_images, dtype=self.compute_dtype)

        def augment_keypoints(
            self, keypoints: Any, transformations: dict[str, Any], raw_images: Any = None, **kwargs: Any
        ) -> Any:
            given = tf.cast(keypoints, "float32")
            dense = given.to_tensor(shape=(None, None, 2)) if isinstance(given, tf.RaggedTensor) else given
            x, y = through_lens.points(
                dense[..., :1], dense[..., 1:], transformations["strengths"], *_sizes(raw_images)
            )
            moved = tf.cast(tf.concat([x, y], axis=-1), self.compute_dtype)
            if isinstance(given, tf.RaggedTensor):
                return tf.RaggedTensor.from_tensor(moved, given.row_lengths())
            return moved

        def augment_segmentation_masks(
            self, segmentation_masks: Any, transformations: dict[str, Any], **kwargs: Any
        ) -> Any:
            def shown(masks: Any, strengths: Any) -> Any:
                return tf.cast(through_lens.masks(masks, strengths, self.segmentation_classes), self.compute_dtype)

            strengths = transformations["strengths"]
            if not isinstance(segmentation_masks, tf.RaggedTensor):
                return shown(segmentation_masks, strengths)
            return tf.map_fn(
                lambda each: tf.RaggedTensor.from_tensor(shown(each[0].to_tensor()[None], each[1][None])[0]),
                (segmentation_masks, strengths),
                fn_output_signature=self.compute_ragged_image_signature(segmentation_masks),
            )

    def _sizes(images: Any) -> tuple[Any, Any]:
        """Heights and widths of pictures, float32, shape (B, 1, 1) or (1, 1, 1)."""
        if isinstance(images, tf.RaggedTensor):
            sizes = images.row_lengths(), tf.reduce_max(images.row_lengths(axis=2), axis=1)
        else:
            sizes = tf.shape(images)[1], tf.shape(images)[2]
        return tuple(tf.cast(tf.reshape(size, (-1, 1, 1)), "float32") for size in sizes)

else:
    from tltool.augment.keras_lens_distortion import RandomLensDistortion

keras.saving.register_keras_serializable("tltool")(RandomLensDistortion)
