"""A race as a picture that moves."""

import io
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tltool.optimizers.race_picture import COLOURS, GOLD, drawn, last_step
from tltool.optimizers.surfaces import Surface
from tltool.optimizers.trajectories import Trajectory

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from PIL import Image

FRAMES = 90  # of a moving picture at most: a race of 6 then takes about 300 kB
COLOURS_OF_GIF, UNCHANGED = 128, 255  # the second is a number that no colour has
FRAME_MS = 70
LAST_FRAME_MS = 2500  # the finished race stands before it starts anew


def animation(trajectories: Sequence[Trajectory], surface: Surface) -> bytes:
    """The bytes of a GIF in which the paths grow step by step; it starts anew without end.

    Args:
        trajectories: Paths over the surface, at least one.
        surface: The surface.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure, lines, ends = drawn(trajectories, surface, dpi=76)
    canvas = FigureCanvasAgg(figure)
    moving: list[Artist] = [*lines, *ends]
    whole = [(line.get_xdata(), line.get_ydata()) for line in lines]
    for artist in moving:
        artist.set_animated(True)
    canvas.draw()
    still = canvas.copy_from_bbox(figure.bbox)  # contours, drawn once: again for each frame they take most of the time
    steps = last_step(trajectories)
    frames = []
    for step in np.unique(np.linspace(0, steps, min(steps + 1, FRAMES)).round().astype(int)):
        canvas.restore_region(still)
        for line, (x, y) in zip(lines, whole, strict=True):
            line.set_data(x[: step + 1], y[: step + 1])
        for end, line in zip(ends, lines, strict=True):
            end.set_data(line.get_xdata()[-1:], line.get_ydata()[-1:])
        for artist in moving:
            artist.axes.draw_artist(artist)
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))
    return _packed(frames)


def _packed(frames: "Sequence[Image.Image]") -> bytes:
    """A GIF in which each frame holds the pixels that changed, an eighth of the bytes of whole frames."""
    from PIL import Image, ImageColor

    # Those of the last frame, and our own: of the few pixels of a mark the choice of colours would take no notice.
    found = frames[-1].quantize(COLOURS_OF_GIF, dither=Image.Dither.NONE).getpalette()[: 3 * COLOURS_OF_GIF]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*found, *(part for colour in (*COLOURS, GOLD) for part in ImageColor.getrgb(colour))])
    # Without dither, what does not move stays the same to the last pixel.
    whole = [np.asarray(frame.quantize(palette=palette, dither=Image.Dither.NONE)) for frame in frames]
    changed = [whole[0], *(np.where(new == old, UNCHANGED, new) for old, new in pairwise(whole))]
    images = []
    for pixels in changed:
        images.append(Image.fromarray(pixels.astype("uint8")))
        images[-1].putpalette(palette.getpalette())
    stream = io.BytesIO()
    times = [FRAME_MS] * (len(images) - 1) + [LAST_FRAME_MS]
    # disposal=1 leaves each frame standing under the next; optimize would renumber the colours.
    options = {"duration": times, "loop": 0, "transparency": UNCHANGED, "disposal": 1, "optimize": False}
    images[0].save(stream, "GIF", save_all=True, append_images=images[1:], **options)
    return stream.getvalue()
