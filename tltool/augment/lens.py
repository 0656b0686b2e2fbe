"""The curved lines of a lens: straight ones bulge outward (barrel) or inward (pincushion).

Only operators: points may be NumPy's, or tensors of any backend.
"""

from typing import Any

# Below -1/3 two points of a picture would be shown at one place: k r^3 + r has its largest value inside of it.
SMALLEST_STRENGTH = -0.3
LARGEST_STRENGTH = 0.5
# Newton's steps until float64 is at 1e-9 pixels, at the smallest strength as well, where with 4 it is at 0.02.
STEPS_BACK = 6


def lens_scale(x: Any, y: Any, strength: Any, height: int, width: int) -> Any:
    """How much nearer to the middle than a point of the output the input is read.

    The radius is 1 at the corners of the picture. Barrel keeps them where they are, pincushion the middle at its size:
    nothing outside of the picture is ever read.

    Args:
        x, y: Shape (b, h, w), pixels from the middle of the picture, of the output; b is B or 1.
        strength: Shape (B,), the coefficient k of the radius squared, in [`SMALLEST_STRENGTH`, `LARGEST_STRENGTH`];
            barrel above 0, pincushion below.
        height, width: Of the picture, pixels.

    Returns:
        Shape (B, h, w), in (0, 1]; times x and y, it is where the input is read.

    Reference: Brown, 1966, "Decentering distortion of lenses", with the first radial coefficient only.
    """
    k = strength[:, None, None]
    return (1.0 + k * _radius_squared(x, y, height, width)) / _largest_scale(k)


def inverse_lens_scale(x: Any, y: Any, strength: Any, height: int, width: int) -> Any:
    """How much further from the middle than a point of the input the output shows it.

    Args:
        x, y: Shape (b, h, w), pixels from the middle of the picture, of the input; b is B or 1.
        strength: Shape (B,), as for `lens_scale`.
        height, width: Of the picture, pixels.

    Returns:
        Shape (B, h, w), 1 or above; times x and y, it is where the output shows the point. Points that pincushion
        takes out of the circle through the corners stay out of it, where a straight continuation of the map puts them.
    """
    k = strength[:, None, None]
    # Not 0: in the middle of a picture the quotient below has its limit.
    radius_read = (_radius_squared(x, y, height, width) + 1e-12) ** 0.5
    target = radius_read * _largest_scale(k)
    # The cubic bends back soon after the corner's radius, 1, and what lies further out would have no answer.
    beyond = _above_zero(target - (1.0 + k))
    target = target - beyond
    # The first guess lies where the cubic's tangent never leads past the answer, on either side of it.
    radius = target
    for _ in range(STEPS_BACK):
        radius = radius - (radius + k * radius**3 - target) / (1.0 + 3.0 * k * radius**2)
    return (radius + beyond / (1.0 + 3.0 * k)) / radius_read


def _radius_squared(x: Any, y: Any, height: int, width: int) -> Any:
    """1 at the corners: of the picture, not of the pixels there, which for a picture of 1 x 1 are its middle."""
    return (x * x + y * y) / ((height * height + width * width) / 4)


def _largest_scale(k: Any) -> Any:
    return 1.0 + _above_zero(k)


def _above_zero(value: Any) -> Any:
    return (value + abs(value)) / 2.0
