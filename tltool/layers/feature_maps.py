"""The last feature map of each of a network's resolutions."""

from typing import Any

import keras

from tltool.layers.functional_graph import Call, calls_of

HALVING = 1.5  # a map this much larger is of another resolution: unpadded convolutions shave pixels, strides halve
PIXEL_CHANNELS = 3


def last_maps(model: keras.Model) -> list[Any]:
    """What a functional model knows at the end of each resolution, from the last to the first.

    Only maps that all paths run through count: what they hold is all that is known there, and not one branch of a
    block. Where cells reach back over each other (NASNet) a resolution may have none. That a head reads maps of several
    stages is no path past the others.

    Returns:
        Symbolic tensors, shape (B, H, W, C), with H and W known; none for a network without convolutions.

    Raises:
        RegularizerError: if the model is no graph from one input to one output.
    """
    maps = [call for call in calls_of(model) if _is_map(call)]
    makers = {id(tensor): position for position, call in enumerate(maps) for tensor in call.outputs}
    last_reader = list(range(len(maps)))
    for position, call in enumerate(maps):
        for tensor in call.input_tensors:
            if id(tensor) in makers:
                last_reader[makers[id(tensor)]] = position
    ends: list[Any] = []  # from the first to the last
    reach = 0  # the furthest map that reads one of those before
    for position, call in enumerate(maps):
        # Padding comes last at its resolution, but is only the next convolution's frame of zeros.
        if reach <= position and not isinstance(call.operation, keras.layers.ZeroPadding2D):
            tensor = call.outputs[0]
            if ends and tensor.shape[1] * HALVING >= ends[-1].shape[1]:
                ends.pop()
            ends.append(tensor)
        reach = max(reach, last_reader[position])
    return ends[::-1]


def _is_map(call: Call) -> bool:
    shape = call.outputs[0].shape
    # Not pixels, prepared or not: to drop blocks of those would be cutout, which is augmentation.
    return len(shape) == 4 and None not in shape[1:3] and shape[3] > PIXEL_CHANNELS
