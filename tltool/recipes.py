"""Recipes: complete, commented TOML files that say how to train. Found, loaded, checked and copied here."""

import difflib
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator, model_validator

from tltool.augment.policies import read_policy
from tltool.backbones import backbone_names
from tltool.backbones.registry import SMALLEST_IMAGE, is_backbone
from tltool.data.decoding import Fit
from tltool.errors import RecipeError
from tltool.recipe_parts import (
    AUTO,
    LARGEST_IMAGE,
    HeadRecipe,
    Members,
    MembersKey,
    Pixels,
    StageRecipe,
    Strict,
    leaves_policy,
    with_policy,
)
from tltool.shipped import shipped


class Recipe(Strict):
    """All that decides how a run trains, apart from the data and the seed."""

    name: str = Field(min_length=1)
    summary: str = Field(min_length=1)
    backbone: str = Field(description='a name of `tltool backbones`, or "auto" for the one that suits the pictures')
    weights: str = Field(description='"pretrained", or a local weights file')
    image_size: Literal["native", "auto"] | Pixels = Field(
        description=f'"native", "auto" to follow the pictures, or {SMALLEST_IMAGE} to {LARGEST_IMAGE} pixels'
    )
    fit: Fit = Field(description='"squish", "crop" or "pad"')
    head: HeadRecipe
    stages: tuple[StageRecipe, ...] = Field(description="stages of fine-tuning; empty for a probe")
    # Last, so that what does not go together with the parts above is told of these, whose keys it is about.
    members: MembersKey
    backbones: tuple[str, ...] = Field(default=(), description="names of several, in the place of `backbone`")

    @model_validator(mode="before")
    @classmethod
    def _first_of_several(cls, values: Any) -> Any:
        """`backbone` is the first of `backbones`, for all that looks through one."""
        if isinstance(values, dict) and "backbone" not in values:
            names = values.get("backbones")
            if isinstance(names, list | tuple) and names and isinstance(names[0], str):
                return {**values, "backbone": names[0]}
        return values

    @field_validator("backbone")
    @classmethod
    def _known_backbone(cls, value: str) -> str:
        if value != AUTO and not is_backbone(value):
            raise ValueError(f"unknown backbone '{value}'.{_suggestion(value, backbone_names())}")
        return value

    @field_validator("weights")
    @classmethod
    def _weights_fit(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("backbone") == AUTO and value != "pretrained":
            raise ValueError('a backbone that is left to the pictures has "pretrained" ones')
        return value

    @field_validator("members")
    @classmethod
    def _members_differ(cls, value: Literal["none"] | Members, info: ValidationInfo) -> Literal["none"] | Members:
        if isinstance(value, Members) and value.by == "seeds" and not info.data.get("stages", True):
            raise ValueError('a probe is the same for every seed: give it stages, or members by = "folds"')
        return value

    @field_validator("backbones")
    @classmethod
    def _several(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        members = info.data.get("members")
        if _each_alone(members) and len(value) != members.count:
            raise ValueError(f"{members.count} members by backbones need as many names")
        if not value:
            return value
        unknown = [name for name in value if not is_backbone(name)]
        if unknown:
            raise ValueError(f"unknown backbone '{unknown[0]}'.{_suggestion(unknown[0], backbone_names())}")
        if info.data.get("backbone", value[0]) != value[0]:
            raise ValueError("a recipe names `backbone` or `backbones`, not both")
        if len(set(value)) < max(2, len(value)):
            raise ValueError("two or more that differ; a single one is `backbone`")
        if info.data.get("weights", "pretrained") != "pretrained":
            raise ValueError('several have `weights` = "pretrained"')
        if not _each_alone(members):
            _check_joined(value, info.data.get("head"), info.data.get("stages"))
        return value

    @field_validator("stages")
    @classmethod
    def _comparable(cls, stages: tuple[StageRecipe, ...]) -> tuple[StageRecipe, ...]:
        if len({stage.choose_by for stage in stages}) > 1:
            raise ValueError("all stages must choose by the same score: the best of them all is what comes out")
        return stages

    @property
    def size_in_pixels(self) -> int | None:
        """None for that of the backbone's own pictures, also while it is left to the pictures."""
        return self.image_size if isinstance(self.image_size, int) else None

    @property
    def joined(self) -> tuple[str, ...]:
        """The backbones whose features one probe reads; () for a single one."""
        return () if _each_alone(self.members) else self.backbones

    @property
    def augmentation(self) -> str | dict[str, Any]:
        """The policy of the first stage that has one, else that of the head."""
        policies = [stage.augmentation for stage in self.stages if stage.augmentation != "none"]
        return next(iter(policies), "none" if self.stages else self.head.augmentation)

    @property
    def leaves_augmentation(self) -> bool:
        """Whether a policy that will be used is left to the decision."""
        return self != self.with_augmentation("none")

    def with_augmentation(self, policy: str) -> "Recipe":
        """The recipe with this policy wherever it is left to the decision and used: not in a head without views."""

        def chosen(part: HeadRecipe | StageRecipe):
            if isinstance(part, HeadRecipe) and part.views == 0:
                return part
            return part.model_copy(update={"augmentation": with_policy(part.augmentation, policy)})

        return self.model_copy(update={"head": chosen(self.head), "stages": tuple(map(chosen, self.stages))})

    def with_trainable(self, stages: Sequence[str]) -> "Recipe":
        """The recipe with these stages of the backbone where that is left to the decision; "all" without any."""
        names = tuple(stages) or "all"
        chosen = [
            stage.model_copy(update={"trainable": names}) if stage.trainable == AUTO else stage for stage in self.stages
        ]
        return self.model_copy(update={"stages": tuple(chosen)})

    def to_toml(self) -> str:
        values = self.model_dump(mode="json")
        del values["backbone" if self.backbones else "backbones"]
        for part in (values["head"], *values["stages"]):
            if isinstance(part["augmentation"], dict) and not leaves_policy(part["augmentation"]):
                # A section a step: numbers are written before sections, which would change the order of the steps.
                part["augmentation"] = read_policy(part["augmentation"]).table
        return tomli_w.dumps(values)


def _check_joined(backbones: Sequence[str], head: HeadRecipe | None, stages: Sequence[StageRecipe] | None) -> None:
    if head and head.taps not in ("last", "all"):
        raise ValueError('stages of several have no common names: `head.taps` must be "last" or "all"')
    if head and head.views:
        raise ValueError("features of several are joined without views: `head.views` must be 0")
    if stages:
        raise ValueError(
            "joined features are read by a probe, which has no stages; to fine-tune each by itself write "
            f'members = {{ by = "backbones", count = {len(backbones)} }}'
        )


def _each_alone(members: Any) -> bool:
    return isinstance(members, Members) and members.by == "backbones"


def recipe_files() -> dict[str, Path]:
    """The recipes that ship with tltool, by name."""
    return {path.stem: path for path in sorted(shipped("recipes").glob("*.toml"))}


def find_recipe(recipe: str | Path) -> Path:
    """The file of a recipe, by the name of a shipped one or by path.

    Raises:
        RecipeError: if there is neither.
    """
    files = recipe_files()
    if str(recipe) in files:
        return files[str(recipe)]
    path = Path(recipe)
    if path.suffix == ".toml" or len(path.parts) > 1:
        if not path.is_file():
            raise RecipeError(f"{path}: no such recipe file.")
        return path
    raise RecipeError(
        f"No recipe is called '{recipe}'.{_suggestion(str(recipe), files)} There are {', '.join(files)}; "
        "a file of your own ends in .toml."
    )


def load_recipe(recipe: str | Path, settings: Sequence[str] = ()) -> Recipe:
    """Loads and checks a recipe.

    Args:
        recipe: The name of a shipped one, or a TOML file.
        settings: Changes such as "head.folds=3" or "stages.top.epochs=5" (a stage by its name or number from 0).

    Raises:
        RecipeError: listing every fault, with its place and what to do.
    """
    path = find_recipe(recipe)
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not a text file in UTF-8. A recipe is a TOML file.") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not valid TOML: {error}.") from None
    for setting in settings:
        _apply(values, setting)
    return check_recipe(values, path.name)


def check_recipe(values: dict[str, Any], source: str) -> Recipe:
    """Makes a recipe of plain values.

    Args:
        values: As a TOML file gives them.
        source: What to call it in messages.

    Raises:
        RecipeError: listing every fault, with its place and what to do.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        # Pydantic counts only the items that passed: a list whose every item is wrong would be called empty as well.
        faults = [fault for fault in error.errors() if not (fault["type"] == "too_short" and fault["input"])]
        faults = dict.fromkeys(_fault_in_words(fault, values) for fault in faults)
        raise RecipeError("\n".join(f"{source}{fault}" for fault in faults)) from None


def copy_recipe(recipe: str, target: Path) -> Path:
    """Copies a recipe, with its comments, to a file of the user's own.

    Raises:
        RecipeError: if there is no such recipe, or `target` exists.
    """
    source = find_recipe(recipe)
    if target.is_dir():
        target = target / source.name
    if target.exists():
        raise RecipeError(f"{target}: exists already and is not overwritten. Give another name.")
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise RecipeError(f"{target}: cannot be written ({error.strerror}).") from None
    return target


def _apply(values: dict[str, Any], setting: str) -> None:
    key, separator, text = setting.partition("=")
    steps = key.strip().split(".")
    if not separator or not all(steps):
        raise RecipeError(f"--set {setting}: write it as key=value, for example head.folds=3.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    place: Any = values
    for step in steps[:-1]:
        place = _enter(place, step, setting)
    if not isinstance(place, dict):
        raise RecipeError(f"--set {setting}: '{steps[-2] if len(steps) > 1 else key}' has no settings of its own.")
    place[steps[-1]] = value


def _enter(place: Any, step: str, setting: str) -> Any:
    if isinstance(place, dict) and step in place:
        return place[step]
    if isinstance(place, list):
        names = [str(item.get("name", index)) for index, item in enumerate(place) if isinstance(item, dict)]
        if step in names:
            return place[names.index(step)]
        if step.isdigit() and int(step) < len(place):
            return place[int(step)]
        raise RecipeError(f"--set {setting}: no stage '{step}'; there are {', '.join(names) or 'none'}.")
    known = [key for key, value in place.items() if isinstance(value, dict | list)] if isinstance(place, dict) else []
    raise RecipeError(f"--set {setting}: no section '{step}'.{_suggestion(step, known) or _listed('sections', known)}")


# What Pydantic says of these in terms of Python is put in those of TOML.
RULES = {
    "tuple_type": "must be a list, in square brackets",
    "model_type": "must be a section with keys of its own",
    "dict_type": "must be a table, in curly brackets",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}


def _fault_in_words(fault: Any, values: dict[str, Any]) -> str:
    """One fault as ", stage 2 'top': unknown key `warm_up`. Did you mean `warmup`?"."""
    steps = list(fault["loc"])
    model: type[BaseModel] = Recipe
    section: Any = values
    place = ""
    if steps[0] == "stages" and len(steps) > 1 and isinstance(steps[1], int):
        section = values["stages"][steps[1]]
        name = f" '{section['name']}'" if isinstance(section, dict) and "name" in section else ""
        place, steps, model = f", stage {steps[1] + 1}{name}", steps[2:], StageRecipe
    elif steps[0] == "head" and len(steps) > 1:
        place, steps, section, model = ", head", steps[1:], values["head"], HeadRecipe
    message = RULES.get(fault["type"], fault["msg"].removeprefix("Value error, "))
    if not steps:
        return f"{place}: {message}, not {_shown(section)}."
    first, *rest = steps
    key = ".".join([first, *(str(step) for step in rest if isinstance(step, int))])
    field = model.model_fields.get(first)
    if fault["type"] == "extra_forbidden":
        known = model.model_fields
        return f"{place}: unknown key `{key}`.{_suggestion(key, known, '`') or _listed('keys', known)}"
    if fault["type"] == "missing":
        meaning = f" ({field.description})" if field and field.description else ""
        return f"{place}: `{key}` is missing{meaning}. A recipe names everything."
    value = fault["input"]
    # A key that takes one thing or another fails once for each, at a path that names the alternative. Say it once.
    either = any(isinstance(step, str) for step in rest)
    if either:
        key, value = first, section[first]
    if (either or fault["type"] in ("string_pattern_mismatch", "literal_error")) and field and field.description:
        message = f"must be {field.description}"
    return f"{place}: `{key}` = {_shown(value)}: {message[0].lower() + message[1:]}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _suggestion(wrong: str, known: Any, quote: str = "'") -> str:
    close = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f" Did you mean {quote}{close[0]}{quote}?" if close else ""


def _listed(what: str, known: Any) -> str:
    return f" The {what} are {', '.join(known)}." if known else ""
