"""Which seeds there are; the command line reads this without loading what uses them."""

LARGEST_SEED = 2**31 - 1  # Keras hands seeds to TensorFlow as signed 32-bit numbers; a larger one ends in a traceback
