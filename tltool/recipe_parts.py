"""The parts of a recipe, the head and the stages of fine-tuning: their keys, and what each may hold."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from tltool.augment.policies import BASE, POLICIES, Table, read_policy
from tltool.backbones.registry import SMALLEST_IMAGE
from tltool.errors import AugmentError, OptimizerError, RegularizerError
from tltool.layers.regularizer_names import RANDOM, check_regularizers
from tltool.optimizers.catalogue import OPTIMIZERS, check_optimizer_arguments, find
from tltool.optimizers.schedule_names import SCHEDULES, check_schedule

# Strict: a string in quotes or `true` in the place of a number is a slip, and must not pass for 3 or 1.
Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Share = Annotated[Number, Field(ge=0, lt=1)]
Names = Annotated[tuple[str, ...], Field(min_length=1)]
LARGEST_IMAGE = 1024  # pixels
MOST_VIEWS = 64  # the head's fit holds the features of them all in memory
MEMBERS_BY, MOST_MEMBERS = ("seeds", "folds", "backbones"), 20
AUTO = "auto"  # what the decision picks, or the device, or the counts


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


@contextmanager
def as_fault(faults: Sequence[str] = ()) -> Iterator[None]:
    """What was found already and what a part's own check says, as one fault of a recipe."""
    found = list(faults)
    try:
        yield
    except (AugmentError, OptimizerError, RegularizerError) as error:
        found += str(error).splitlines()
    if found:
        raise ValueError("; ".join(line.removesuffix(".") for line in found) + ".")


def leaves_policy(augmentation: str | Table) -> bool:
    """Whether what is done to pictures, or what a table adds to, is left to the decision."""
    return AUTO in (augmentation, isinstance(augmentation, Mapping) and augmentation.get(BASE))


def with_policy(augmentation: str | Table, policy: str) -> str | Table:
    """An augmentation with this policy where that is left to the decision."""
    if not leaves_policy(augmentation):
        return augmentation
    return policy if augmentation == AUTO else read_policy({**augmentation, BASE: policy}).table


def _check_policy(value: Any) -> Any:
    with as_fault():
        policy = read_policy(with_policy(value, "none"))
    if isinstance(value, Mapping) and BASE in value:  # with every number, as a file of it has them
        return ({BASE: AUTO} if leaves_policy(value) else {}) | policy.table
    return value


Pixels = Annotated[Whole, Field(ge=SMALLEST_IMAGE, le=LARGEST_IMAGE)]
ChooseBy = Literal["log_loss", "balanced_accuracy"]

Augmentation = Annotated[
    str | dict[str, Any],
    BeforeValidator(_check_policy),
    Field(
        description=f'"{AUTO}" for what the decision picks, {", ".join(POLICIES)}, or a table of steps, which may '
        f'name the one that they are added to: {{ {BASE} = "{AUTO}", cut_mix = 1.0 }}'
    ),
]


class Members(Strict):
    """Independent classifiers of one recipe, whose probabilities are averaged."""

    by: Literal["seeds", "folds", "backbones"]
    count: Annotated[Whole, Field(ge=2, le=MOST_MEMBERS)]


def _check_members(value: Any) -> Any:
    """Says what is wrong in one sentence: of a key that takes one thing or another each would be told by itself."""
    if value == "none" or isinstance(value, Members):
        return value
    if not isinstance(value, Mapping):
        raise ValueError('must be "none", or a table such as { by = "seeds", count = 3 }')
    if set(value) != {"by", "count"}:
        raise ValueError(f"must have the keys `by` and `count`, not {', '.join(map(repr, value)) or 'none'}")
    if value["by"] not in MEMBERS_BY:
        raise ValueError(f"`by` must be {' or '.join(map(repr, MEMBERS_BY))}")
    count = value["count"]
    if type(count) is not int or not 2 <= count <= MOST_MEMBERS:
        raise ValueError(f"`count` must be a whole number from 2 to {MOST_MEMBERS}")
    return Members(**value)


MembersKey = Annotated[
    Literal["none"] | Members,
    BeforeValidator(_check_members),
    Field(description='"none", or what is fitted several times and averaged, such as { by = "seeds", count = 3 }'),
]


class HeadRecipe(Strict):
    """The linear head: what it reads, and how its ridge strength is chosen."""

    taps: Literal["last", "all"] | Names = Field(description='"last", "all", or a list of stage names')
    pooling: tuple[Literal["mean", "std", "fractional-max"], ...] = Field(
        min_length=1, description='one or several of "mean", "std" and "fractional-max"'
    )
    strengths: tuple[Annotated[Number, Field(gt=0)], ...] = Field(min_length=1, description="ridge strengths to try")
    folds: Whole = Field(ge=2, le=20, description="parts of a cross-validation")
    shuffles: Whole = Field(ge=1, le=20, description="how often the folds are drawn anew")
    views: Whole = Field(ge=0, le=MOST_VIEWS, description="augmented views of each picture to learn from as well")
    augmentation: Augmentation


# Arguments of optimizers that a stage names itself.
OWN_KEYS = {"learning_rate": "learning_rate", "weight_decay": "weight_decay", "max_iterations": "epochs"}
CYCLES = 3  # of the schedule "restarts", where its arguments name no other number: `build_schedule`
# A full-batch optimizer takes no rate; its recipe says so rather than give values that nothing reads.
FOUND_BY_ITSELF = {"learning_rate": 1.0, "layer_decay": 1.0, "schedule": "constant", "weight_decay": 0.0, "warmup": 0.0}


class StageRecipe(Strict):
    """One stage of fine-tuning."""

    name: str = Field(min_length=1, description="shown in the progress and the log")
    trainable: Annotated[str, Field(pattern=r"^(head|norm|all|auto|top:[1-9][0-9]*)$")] | Names = Field(
        description='"head", "norm", "top:N" stages, "all", "auto" for what the decision picks, or a list of stages'
    )
    statistics: Literal["kept", "learned"] = Field(description='of BatchNorm: "kept" or "learned"')
    image_size: Literal["full"] | Pixels = Field(
        description=f'"full", or {SMALLEST_IMAGE} to {LARGEST_IMAGE} pixels to train this stage on smaller pictures'
    )
    epochs: Whole = Field(ge=1, description="at most; early stopping may end sooner")
    batch_size: Whole = Field(ge=1, description="pictures a step")
    precision: Literal["auto", "float32", "mixed_bfloat16"] = Field(
        description='"auto" for bfloat16 where an accelerator has it, "float32" or "mixed_bfloat16"'
    )
    optimizer: str = Field(description="a name that `tltool optimizers` lists")
    optimizer_arguments: dict[str, Any] = Field(description="those that are not the defaults, {} for none")
    learning_rate: Number = Field(gt=0, description="of the head, at the end of the warm-up")
    layer_decay: Annotated[Number, Field(gt=0, le=1)] = Field(
        description="a stage's rate over that of the stage above it; 1.0 is one rate for all"
    )
    schedule: str = Field(description=f"what the rate does after the warm-up: {', '.join(SCHEDULES)}")
    schedule_arguments: dict[str, Any] = Field(description="those that are not the defaults, {} for none")
    weight_decay: Number = Field(ge=0, description="decoupled, a step, times the learning rate")
    warmup: Share = Field(description="share of the steps in which the rate rises from 0")
    label_smoothing: Share = Field(description="probability mass spread over the other classes")
    focal_gamma: Number = Field(ge=0, description="how much pictures that are easy count less; 0 for cross-entropy")
    balance: Literal["none", "weights", "sampling", "auto"] = Field(
        description='"none", "weights", "sampling", or "auto", by the counts of the classes'
    )
    augmentation: Augmentation
    views: Whole = Field(ge=0, le=MOST_VIEWS, description="fixed ones of each picture; 0: augmented anew each epoch")
    regularizers: dict[str, Any] = Field(description="those that are not 0, {} for none")
    average: Literal["none", "ema", "swa"] = Field(description='of the weights of many steps: "none", "ema" or "swa"')
    snapshots: Whole = Field(ge=0, description="ends of cycles, the last ones, whose weights are averaged; 0 for none")
    choose_by: ChooseBy = Field(description='"log_loss" or "balanced_accuracy" of the validation pictures')
    patience: Whole = Field(ge=1, description="epochs without a better validation score before the stage ends")

    @field_validator("optimizer")
    @classmethod
    def _known_optimizer(cls, value: str) -> str:
        with as_fault():
            return find(value)[0]

    @field_validator("optimizer_arguments")
    @classmethod
    def _right_arguments(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        faults = [
            f"`{own}` is the stage's own `{key}`; write it there" for own, key in OWN_KEYS.items() if own in value
        ]
        if "optimizer" in info.data:
            with as_fault(faults):
                rest = {key: given for key, given in value.items() if key not in OWN_KEYS}
                check_optimizer_arguments(info.data["optimizer"], rest)
        return value

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, value: str) -> str:
        with as_fault():
            check_schedule(value, {})
        return value

    @field_validator("schedule_arguments")
    @classmethod
    def _right_schedule_arguments(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "schedule" in info.data:
            with as_fault():
                check_schedule(info.data["schedule"], value)
        return value

    @field_validator("augmentation")
    @classmethod
    def _can_be_mixed(cls, value: str | dict[str, Any], info: ValidationInfo) -> str | dict[str, Any]:
        if info.data.get("batch_size") == 1 and read_policy(with_policy(value, "none")).mixes:
            raise ValueError("mixing needs two pictures in a batch, and `batch_size` is 1")
        return value

    @field_validator("views")
    @classmethod
    def _of_something(cls, value: int, info: ValidationInfo) -> int:
        if value and info.data.get("augmentation") == "none":
            raise ValueError('without augmentation all views are the same, so this must be 0 with augmentation "none"')
        return value

    @field_validator("regularizers")
    @classmethod
    def _known_regularizers(cls, value: dict[str, Any]) -> dict[str, Any]:
        with as_fault():
            check_regularizers(value)
        return value

    @field_validator("augmentation", "regularizers")
    @classmethod
    def _same_loss_at_every_look(cls, value: Any, info: ValidationInfo) -> Any:
        optimizer = info.data.get("optimizer")
        if optimizer and OPTIMIZERS[optimizer].full_batch:
            if info.field_name == "augmentation" and value != "none":
                raise ValueError(f'{optimizer} needs the same loss at every look, so this must be "none"')
            random = [name for name in value if name in RANDOM] if info.field_name == "regularizers" else []
            if random:
                raise ValueError(
                    f"{optimizer} needs the same loss at every look, which {', '.join(random)} would change"
                )
        return value

    @field_validator("average")
    @classmethod
    def _once(cls, value: str, info: ValidationInfo) -> str:
        optimizer = info.data.get("optimizer")
        if value != "none" and optimizer and OPTIMIZERS[optimizer].full_batch:
            raise ValueError(f'{optimizer} goes to a minimum and has nothing to average, so this must be "none"')
        if value == "ema" and "use_ema" in info.data.get("optimizer_arguments", {}):
            raise ValueError("`optimizer_arguments` has a moving average already; write it in one place")
        return value

    @field_validator("snapshots")
    @classmethod
    def _of_cycles(cls, value: int, info: ValidationInfo) -> int:
        if not value:
            return value
        if value == 1:
            raise ValueError("one snapshot is no average; 0 for none, or 2 and more")
        if info.data.get("average", "none") != "none":
            raise ValueError('a stage averages in one way: write average = "none", or no snapshots')
        schedule, arguments = info.data.get("schedule"), info.data.get("schedule_arguments", {})
        if schedule and schedule != "restarts":
            raise ValueError('snapshots are taken at the ends of cycles, so `schedule` must be "restarts"')
        if value > (cycles := arguments.get("cycles", CYCLES)):
            raise ValueError(f"the schedule has {cycles} cycles; name more of them in `schedule_arguments`")
        return value

    @field_validator("balance")
    @classmethod
    def _whole_set(cls, value: str, info: ValidationInfo) -> str:
        optimizer = info.data.get("optimizer")
        if optimizer and OPTIMIZERS[optimizer].full_batch and value == "sampling":
            raise ValueError(f'{optimizer} looks at every picture each time; to balance the classes write "weights"')
        return value

    @field_validator(*FOUND_BY_ITSELF)
    @classmethod
    def _not_with_a_full_batch(cls, value: Any, info: ValidationInfo) -> Any:
        optimizer, only = info.data.get("optimizer"), FOUND_BY_ITSELF[info.field_name]
        if optimizer and OPTIMIZERS[optimizer].full_batch and value != only:
            raise ValueError(f"{optimizer} finds its steps by itself, so this must be {only!r}")
        return value
