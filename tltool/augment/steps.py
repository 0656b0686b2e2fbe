"""The steps that a policy may take, their magnitudes and ranges. Needs no Keras: recipes are checked by it."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tltool.errors import AugmentError


@dataclass(frozen=True)
class Magnitude:
    """One number of a step.

    Attributes:
        name: As it is written in a table of arguments.
        lowest, highest: Both allowed.
        meaning: With its unit.
        default: None for the step's own magnitude, which is always given.
        whole: Whether it must be a whole number.
    """

    name: str
    lowest: float
    highest: float
    meaning: str
    default: float | None = None
    whole: bool = False


CHANCE = Magnitude("chance", 0.0, 1.0, "share of the pictures that it is done to", default=1.0)


@dataclass(frozen=True)
class StepRule:
    """What may be asked of a step.

    Attributes:
        kind: Neighbours of the kind "geometry" become one warp, those of the kind "colour" one change of colour.
            "pixels" and "chosen" are done one by one, "mixing" comes last.
        magnitudes: The first is what a plain number stands for.
    """

    kind: str
    magnitudes: tuple[Magnitude, ...]

    @property
    def main(self) -> Magnitude:
        return self.magnitudes[0]


def _step(kind: str, *magnitudes: Magnitude) -> StepRule:
    return StepRule(kind, magnitudes if magnitudes[0].name == "chance" else (*magnitudes, CHANCE))


def _flip(meaning: str) -> StepRule:
    return StepRule("geometry", (Magnitude("chance", 0.0, 1.0, meaning),))


# Ranges end where a picture is no longer one, or where the mathematics does (a lens beyond 0.3 folds the picture over).
STEPS: Mapping[str, StepRule] = MappingProxyType(
    {
        "flip_horizontal": _flip("share of the pictures that are mirrored"),
        "flip_vertical": _flip("share of the pictures whose top and bottom are exchanged"),
        "rotate": _step("geometry", Magnitude("degrees", 0.0, 180.0, "largest angle, degrees, either way")),
        "crop": _step("geometry", Magnitude("area", 0.01, 1.0, "smallest crop, share of the picture's area")),
        "zoom": _step("geometry", Magnitude("share", 0.0, 0.9, "largest change of scale, either way, share")),
        "translate": _step("geometry", Magnitude("share", 0.0, 1.0, "largest shift, share of the side")),
        "stretch": _step("geometry", Magnitude("share", 0.0, 1.0, "largest change of the aspect ratio, share")),
        "shear": _step("geometry", Magnitude("degrees", 0.0, 45.0, "largest angle, degrees, along either side")),
        "perspective": _step("geometry", Magnitude("share", 0.0, 0.9, "how far corners move in, share of half a side")),
        "lens": _step("geometry", Magnitude("strength", 0.0, 0.3, "largest distortion, barrel or pincushion")),
        "brightness": _step("colour", Magnitude("share", 0.0, 1.0, "largest change, share of the whole range")),
        "contrast": _step("colour", Magnitude("share", 0.0, 1.0, "largest change of the spread about the mean, share")),
        "saturation": _step("colour", Magnitude("share", 0.0, 1.0, "largest change of the distance from grey, share")),
        "hue": _step("colour", Magnitude("turn", 0.0, 0.5, "largest turn of the colour circle; 0.5 is half of it")),
        "grey": StepRule("colour", (Magnitude("chance", 0.0, 1.0, "share of the pictures that lose their colour"),)),
        "blur": _step("pixels", Magnitude("sigma", 0.0, 5.0, "largest standard deviation, pixels")),
        "jpeg": _step("pixels", Magnitude("quality", 1, 100, "lowest quality; the highest is 100", whole=True)),
        "cutout": _step("pixels", Magnitude("side", 0.0, 1.0, "side of the grey square, share of the picture's")),
        "erase": _step("pixels", Magnitude("area", 0.0, 1.0, "largest rectangle, share of the picture's area")),
        "grid_mask": _step("pixels", Magnitude("ratio", 0.0, 1.0, "side of a hole, share of the distance of holes")),
        "rand_augment": _step(
            "chosen",
            Magnitude("magnitude", 0.0, 30.0, "of each operation; 30 is its strongest"),
            Magnitude("layers", 1, 10, "operations after each other", default=2, whole=True),
        ),
        "trivial_augment": StepRule(
            "chosen", (Magnitude("chance", 0.0, 1.0, "share of the pictures that get one operation of any strength"),)
        ),
        "aug_mix": _step(
            "chosen",
            Magnitude("severity", 0.0, 30.0, "of each operation at most; 30 is its strongest"),
            Magnitude("chains", 1, 10, "that are mixed", default=3, whole=True),
        ),
        "mix_up": StepRule("mixing", (Magnitude("alpha", 0.01, 10.0, "of the Beta distribution of the shares"),)),
        "cut_mix": StepRule("mixing", (Magnitude("alpha", 0.01, 10.0, "of the Beta distribution of the shares"),)),
    }
)


@dataclass(frozen=True)
class Step:
    """One step with all its numbers.

    Attributes:
        name: Of `STEPS`.
        arguments: Every magnitude of the step, by name.
    """

    name: str
    arguments: Mapping[str, float]

    @property
    def kind(self) -> str:
        return STEPS[self.name].kind

    @property
    def magnitude(self) -> float:
        return self.arguments[STEPS[self.name].main.name]

    @property
    def chance(self) -> float:
        return self.arguments.get("chance", 1.0)


def read_step(name: str, value: Any) -> Step:
    """A step as a table writes it: a number, or a table of its arguments.

    Raises:
        AugmentError: if there is no such step or argument, or a number is out of range; all faults at once.
    """
    if name not in STEPS:
        raise AugmentError(f"there is no step `{name}`.{suggestion(name, STEPS)} The steps are {', '.join(STEPS)}.")
    rule = STEPS[name]
    given = value if isinstance(value, Mapping) else {rule.main.name: value}
    known = {magnitude.name: magnitude for magnitude in rule.magnitudes}
    faults = [
        f"`{name}` has no argument `{key}`; it has {', '.join(f'`{each}`' for each in known)}."
        for key in given
        if key not in known
    ]
    arguments = {}
    for key, magnitude in known.items():
        if key not in given and magnitude.default is None:
            faults.append(f"`{name}` lacks `{key}` ({magnitude.meaning}).")
            continue
        arguments[key] = given.get(key, magnitude.default)
        faults += _faults(name, magnitude, arguments[key])
    if faults:
        raise AugmentError("\n".join(faults))
    return Step(name, MappingProxyType({key: float(number) for key, number in arguments.items()}))


def _faults(name: str, magnitude: Magnitude, value: Any) -> Iterable[str]:
    place = f"`{name}`" if STEPS[name].main is magnitude else f"`{name}.{magnitude.name}`"
    allowed = f"{magnitude.lowest:g} to {magnitude.highest:g} ({magnitude.meaning})"
    kind = "a whole number" if magnitude.whole else "a number"
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield f"{place} = {value!r}: must be {kind} from {allowed}."
    elif name == "crop" and magnitude.name == "area" and value > 1:
        yield f"{place} = {value:g}: the crop would be larger than the picture; it must be from {allowed}."
    elif not magnitude.lowest <= value <= magnitude.highest or (magnitude.whole and value != int(value)):
        yield f"{place} = {value:g}: must be {kind} from {allowed}."


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """ " Did you mean ...?" where something is near enough, else nothing."""
    close = difflib.get_close_matches(wrong.lower(), list(known), n=1, cutoff=0.6)
    return f" Did you mean `{close[0]}`?" if close else ""
