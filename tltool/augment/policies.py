"""Policies: what is done to training pictures, by name or as a table. Needs no Keras: recipes are checked by it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tltool.augment.steps import STEPS, Step, read_step, suggestion
from tltool.errors import AugmentError

Table = Mapping[str, Any]

BASE = "policy"  # in a table: the policy that its steps are added to

LESS_IS_MORE = ("crop", "jpeg")  # steps whose highest number changes nothing

# Each names its steps in the order in which they are done: geometry first, so that it is one warp; then colours, which
# are one as well; then what is done to pixels; mixing comes last.
POLICIES: Mapping[str, Table] = MappingProxyType(
    {
        # For a probe without views, for tables of numbers drawn as pictures, and to compare with.
        "none": {},
        # For a lot of data, which shows most of the variety itself: what hardly any object minds. No colour: the cost
        # of teaching the network that yellow may be green is only worth paying where pictures are few.
        "light": {"flip_horizontal": 0.5, "crop": 0.8},
        # For little data: the usual recipe of ImageNet training, but milder crops, as a fine-tuned network has seen the
        # world already and a crop to a tenth of the picture often misses the thing that the label is about.
        "standard": {
            "flip_horizontal": 0.5,
            "rotate": 10,
            "stretch": 0.15,
            "crop": 0.5,
            "brightness": 0.15,
            "contrast": 0.2,
            "saturation": 0.2,
            "hue": 0.02,
        },
        # For long training: adds what a network cannot learn by heart. Mixed labels keep it from certainty, so the
        # training loss stays high and ten epochs are too few to gain by it.
        "strong": {
            "flip_horizontal": 0.5,
            "crop": 0.3,
            "rand_augment": {"magnitude": 9, "layers": 2},
            "erase": {"area": 0.2, "chance": 0.25},
            "cut_mix": 1.0,
        },
        # What cameras in hands do: pictures are mirrored or tilted a little, seen from the side, through another lens,
        # in other light, blurred and compressed; they are never upside down.
        "photographs": {
            "flip_horizontal": 0.5,
            "rotate": 10,
            "perspective": 0.15,
            "crop": 0.5,
            "lens": {"strength": 0.1, "chance": 0.3},
            "brightness": 0.15,
            "contrast": 0.2,
            "saturation": 0.2,
            "hue": 0.02,
            "blur": {"sigma": 1.0, "chance": 0.2},
            "jpeg": {"quality": 50, "chance": 0.2},
        },
        # Text, digits, drawings, X-rays: a mirrored b is a d, so no flips; a 6 turned by more than some 20 degrees
        # becomes something else; crops stay large, as a part of a sign is another sign. Scans differ in light.
        "documents": {
            "rotate": 7,
            "shear": 5,
            "perspective": 0.08,
            "crop": 0.8,
            "brightness": 0.15,
            "contrast": 0.3,
            "blur": {"sigma": 0.7, "chance": 0.2},
            "jpeg": {"quality": 50, "chance": 0.2},
        },
        # Seen from above there is no up: all rotations and both flips. Scale is fixed by height or magnification, so
        # it moves little; stains and daylight change colours.
        "aerial-and-microscopy": {
            "flip_horizontal": 0.5,
            "flip_vertical": 0.5,
            "rotate": 180,
            "zoom": 0.15,
            "brightness": 0.15,
            "contrast": 0.2,
            "saturation": 0.2,
            "hue": 0.02,
        },
    }
)


@dataclass(frozen=True)
class Policy:
    """What is done to pictures, in order.

    Attributes:
        name: Of `POLICIES`, or "custom".
        steps: With all their numbers.
    """

    name: str
    steps: tuple[Step, ...]

    def __bool__(self) -> bool:
        return bool(self.steps)

    @property
    def mixes(self) -> bool:
        """Whether pictures are mixed with each other, so that labels become soft."""
        return any(step.kind == "mixing" for step in self.steps)

    @property
    def per_picture(self) -> "Policy":
        """The steps that change each picture by itself, without mixing."""
        return Policy(self.name, tuple(step for step in self.steps if step.kind != "mixing"))

    @property
    def table(self) -> dict[str, dict[str, float]]:
        """What `read_policy` takes, with every number."""
        return {step.name: dict(step.arguments) for step in self.steps}

    @property
    def digest(self) -> str:
        """Of the steps and their numbers alone: what is cached under it is found again under another name."""
        numbers = json.dumps([[step.name, sorted(step.arguments.items())] for step in self.steps])
        return hashlib.sha256(numbers.encode()).hexdigest()[:16]


def read_policy(policy: str | Table | Policy) -> Policy:
    """A policy by name, or from a table of its steps.

    Args:
        policy: One of `POLICIES`; or a table such as {"flip_horizontal": 0.5, "rotate": 10}, done in its order; or one
            such as {"policy": "light", "cut_mix": 1.0}, whose steps come after those of their kind in a policy, or in
            the place of those of the same name.

    Raises:
        AugmentError: naming every unknown step and every number out of range.
    """
    if isinstance(policy, Policy):
        return policy
    if isinstance(policy, str):
        return Policy(policy, _read_steps(_named(policy)))
    if not isinstance(policy, Mapping):
        raise AugmentError(f"a policy is a name or a table of steps, not {policy!r}.")
    if BASE in policy:
        own = {name: value for name, value in policy.items() if name != BASE}
        return Policy("custom" if own else policy[BASE], _read_steps(_added(_named(policy[BASE]), own)))
    return Policy("custom" if policy else "none", _read_steps(policy))


def _named(policy: Any) -> Table:
    if not isinstance(policy, str) or policy not in POLICIES:
        raise AugmentError(
            f"there is no policy {policy!r}.{suggestion(str(policy), POLICIES)} "
            f"There are {', '.join(POLICIES)}; or write a table of steps."
        )
    return POLICIES[policy]


def scaled(policy: Policy, strength: float) -> Policy:
    """A policy whose steps go less far, or farther.

    Steps that are done or not, such as flips, stay as they are: what chance they have says nothing of how far they go.

    Args:
        policy: Any.
        strength: Of every other step, >= 0: 1 leaves it as it is, 0 leaves the policy without steps. What would leave a
            step's range ends at it.
    """
    if strength == 0:
        return Policy("none", ())
    if strength == 1:
        return policy
    return Policy("custom", tuple(_scaled_step(step, strength) for step in policy.steps))


def _scaled_step(step: Step, strength: float) -> Step:
    main = STEPS[step.name].main
    if main.name == "chance":
        return step
    nothing = main.highest if step.name in LESS_IS_MORE else main.lowest
    value = min(max(nothing + (step.magnitude - nothing) * strength, main.lowest), main.highest)
    value = float(round(value)) if main.whole else round(value, 6)
    return Step(step.name, MappingProxyType(dict(step.arguments) | {main.name: value}))


def _added(base: Table, own: Table) -> Table:
    """A table of both: a step in the place of its namesake, else after those of its kind, so that warps stay one."""
    kinds = {name: STEPS[name].kind if name in STEPS else None for name in (*base, *own)}
    order = list(base)
    for name in own:
        if name not in base:
            alike = [place for place, other in enumerate(order) if kinds[other] == kinds[name]]
            mixed = [place for place, other in enumerate(order) if kinds[other] == "mixing"]
            order.insert(alike[-1] + 1 if alike else mixed[0] if mixed else len(order), name)
    both = {**base, **own}
    return {name: both[name] for name in order}


def _read_steps(table: Table) -> tuple[Step, ...]:
    steps, faults = [], []
    for name, value in table.items():
        try:
            steps.append(read_step(name, value))
        except AugmentError as error:
            faults += str(error).splitlines()
    kinds = [step.kind for step in steps]
    if "mixing" in kinds and set(kinds[kinds.index("mixing") :]) != {"mixing"}:
        late = next(step.name for step in steps[kinds.index("mixing") :] if step.kind != "mixing")
        faults.append(f"`{late}` stands after mixing; mix_up and cut_mix come last, on pictures that are done.")
    if faults:
        raise AugmentError("\n".join(faults))
    return tuple(steps)
