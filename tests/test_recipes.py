"""Recipes: those that ship keep their contract, and a faulty one is told of every fault at once."""

import copy
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tltool import recipes
from tltool.augment import POLICIES, STEPS, read_policy
from tltool.backbones import load_backbone
from tltool.decision import TABLE
from tltool.errors import RecipeError
from tltool.features.taps import resolve_taps
from tltool.optimizers import names
from tltool.recipe_parts import HeadRecipe, StageRecipe
from tltool.recipes import Recipe, copy_recipe, find_recipe, load_recipe, recipe_files

SHIPPED = recipe_files()
STAGE = """
[[stages]]
name = "top"
trainable = "top:2"
statistics = "kept"
image_size = "full"
epochs = 10
batch_size = 32
precision = "auto"
optimizer = "adamw"
optimizer_arguments = {}
learning_rate = 0.0003
layer_decay = 0.7
schedule = "cosine"
schedule_arguments = { floor = 0.1 }
weight_decay = 0.01
warmup = 0.1
label_smoothing = 0.0
focal_gamma = 0.0
balance = "auto"
augmentation = "auto"
views = 0
regularizers = {}
average = "none"
snapshots = 0
choose_by = "log_loss"
patience = 3
"""
HEAD = """
name = "mine"
summary = "Mine."
backbone = "tiny_random"
weights = "pretrained"
image_size = "native"
fit = "squish"
members = "none"

[head]
taps = "last"
pooling = ["mean"]
strengths = [1.0, 0.1]
folds = 4
shuffles = 3
views = 0
augmentation = "auto"
"""
GOOD = HEAD + STAGE.replace('"top"', '"warm"') + STAGE


@cache
def backbone(name):
    return load_backbone(name, weights=None, image_size=32)


def check_recipe(path: Path) -> None:
    """What every recipe that ships must keep."""
    text = path.read_text("utf-8")
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    values = tomllib.loads(text)
    assert values.keys() == Recipe.model_fields.keys() - {"backbone" if "backbones" in values else "backbones"}
    assert values["head"].keys() == HeadRecipe.model_fields.keys()
    for stage in values["stages"]:
        assert stage.keys() == StageRecipe.model_fields.keys()
    opening = text.partition("\n\nname")[0]
    assert all(line.startswith("#") for line in opening.splitlines())
    assert opening.startswith(f"# {recipe.name}: ")
    assert re.search(r"^# For: +\S", opening, re.MULTILINE)
    assert re.search(rf"^# Run: +tltool fit PHOTOS --recipe {recipe.name}$", opening, re.MULTILINE)
    assert re.search(rf"^# Copy: +tltool recipes copy {recipe.name} mine\.toml$", opening, re.MULTILINE)
    assert recipes.check_recipe(tomllib.loads(recipe.to_toml()), "round trip") == recipe
    stages = resolve_taps(backbone(recipe.backbone), recipe.head.taps)
    assert stages[-1] == "top"
    for stage in recipe.stages:
        kind, _, count = stage.trainable.partition(":")
        assert kind != "top" or int(count) < len(backbone(recipe.backbone).stages)


@pytest.mark.parametrize("path", SHIPPED.values(), ids=SHIPPED)
def test_a_shipped_recipe(path):
    check_recipe(path)


def test_each_cell_of_the_table_has_its_recipe():
    assert set(TABLE.values()) <= set(SHIPPED)


def test_the_contract_notices_a_recipe_that_breaks_it(tmp_path):
    source = SHIPPED["finetune-top"].read_text("utf-8")
    for name, text in {
        "other.toml": source,  # a name that is not the file's
        "finetune-top.toml": source.replace("# Run:", "# To run:"),
        "copy/finetune-top.toml": "\n" + source,
    }.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, "utf-8")
        with pytest.raises(AssertionError):
            check_recipe(file)


@pytest.fixture
def mine(tmp_path):
    """A sound recipe of the user's own."""
    file = tmp_path / "mine.toml"
    file.write_text(GOOD, "utf-8")
    return file


def faults(change, values=None):
    """The message for the sound recipe after a change."""
    values = copy.deepcopy(tomllib.loads(GOOD)) if values is None else values
    change(values)
    with pytest.raises(RecipeError) as caught:
        recipes.check_recipe(values, "mine.toml")
    assert caught.value.__suppress_context__
    return str(caught.value)


def test_a_sound_recipe_is_what_the_file_says(mine):
    recipe = load_recipe(mine)
    assert recipe.head.strengths == (1.0, 0.1)
    assert [stage.name for stage in recipe.stages] == ["warm", "top"]
    assert recipe.stages[1].trainable == "top:2"
    assert recipe.size_in_pixels is None
    assert load_recipe(mine, ["image_size=96"]).size_in_pixels == 96
    assert recipes.check_recipe(tomllib.loads(recipe.to_toml()), "again") == recipe


def test_a_misspelt_key_in_a_stage():
    def change(values):
        values["stages"][1]["warm_up"] = values["stages"][1]["warmup"]

    assert faults(change) == "mine.toml, stage 2 'top': unknown key `warm_up`. Did you mean `warmup`?"


def test_all_faults_are_reported_together():
    def change(values):
        values["backbone"] = "efficientnet-lite0"
        del values["summary"]
        values["head"] |= {"fold": 3, "shuffles": 0, "pooling": ["mean", "max"]}
        del values["head"]["folds"]
        values["stages"][0] |= {"warmup": 1.5, "optimizer": "adamm"}
        values["stages"][1]["learning_rat"] = values["stages"][1].pop("learning_rate")

    assert faults(change).splitlines() == [
        "mine.toml: `summary` is missing. A recipe names everything.",
        "mine.toml: `backbone` = 'efficientnet-lite0': unknown backbone 'efficientnet-lite0'. "
        "Did you mean 'efficientnet_lite0'?",
        'mine.toml, head: `pooling.1` = \'max\': must be one or several of "mean", "std" and "fractional-max"',
        "mine.toml, head: `folds` is missing (parts of a cross-validation). A recipe names everything.",
        "mine.toml, head: `shuffles` = 0: input should be greater than or equal to 1",
        "mine.toml, head: unknown key `fold`. Did you mean `folds`?",
        "mine.toml, stage 1 'warm': `optimizer` = 'adamm': no optimizer is called 'adamm'. Did you mean `adam`? "
        f"There are {', '.join(names())}.",
        "mine.toml, stage 1 'warm': `warmup` = 1.5: input should be less than 1",
        "mine.toml, stage 2 'top': `learning_rate` is missing (of the head, at the end of the warm-up). "
        "A recipe names everything.",
        "mine.toml, stage 2 'top': unknown key `learning_rat`. Did you mean `learning_rate`?",
    ]


def test_every_key_that_is_missing_is_named():
    found = faults(lambda values: values.clear())
    assert re.findall(r"mine.toml: `(\w+)` is missing", found) == [
        name for name in Recipe.model_fields if name != "backbones"
    ]
    found = faults(lambda values: (values["head"].clear(), values["stages"][0].clear()))
    assert re.findall(r"mine.toml, head: `(\w+)` is missing", found) == list(HeadRecipe.model_fields)
    assert re.findall(r"mine.toml, stage 1: `(\w+)` is missing", found) == list(StageRecipe.model_fields)


TAPS = 'must be "last", "all", or a list of stage names'
KEYS = "name, summary, backbone, weights, image_size, fit, head, stages, members, backbones"
IMAGE_SIZE = 'must be "native", "auto" to follow the pictures, or 32 to 1024 pixels'


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("head", "taps", 3, f"`taps` = 3: {TAPS}"),
        ("head", "taps", "lats", f"`taps` = 'lats': {TAPS}"),
        ("head", "taps", [], f"`taps` = []: {TAPS}"),
        ("head", "taps", ["top", 3], f"`taps` = ['top', 3]: {TAPS}"),
        ("head", "pooling", [], "`pooling` = []: must not be empty"),
        ("head", "pooling", "mean", "`pooling` = 'mean': must be a list, in square brackets"),
        ("head", "strengths", 0.1, "`strengths` = 0.1: must be a list, in square brackets"),
        ("head", "strengths", [1.0, 0.0], "`strengths.1` = 0.0: input should be greater than 0"),
        ("head", "strengths", [-1.0], "`strengths.0` = -1.0: input should be greater than 0"),
        ("head", "strengths", [], "`strengths` = []: must not be empty"),
        ("head", "strengths", [float("inf")], "`strengths.0` = inf: input should be a finite number"),
        ("head", "folds", 1, "`folds` = 1: input should be greater than or equal to 2"),
        ("head", "folds", "4", "`folds` = '4': input should be a valid integer"),
        ("head", "folds", True, "`folds` = True: input should be a valid integer"),
        ("head", "shuffles", 2.5, "`shuffles` = 2.5: input should be a valid integer"),
        ("stage", "name", "", "`name` = '': must not be empty"),
        (
            "stage",
            "trainable",
            "top:0",
            '`trainable` = \'top:0\': must be "head", "norm", "top:N" stages, "all", "auto" for what the decision '
            "picks, or a list of stages",
        ),
        ("stage", "learning_rate", 0, "`learning_rate` = 0: input should be greater than 0"),
        ("stage", "learning_rate", float("nan"), "`learning_rate` = nan: input should be a finite number"),
        ("stage", "learning_rate", "fast", "`learning_rate` = 'fast': input should be a valid number"),
        ("stage", "layer_decay", 0, "`layer_decay` = 0: input should be greater than 0"),
        ("stage", "layer_decay", 1.5, "`layer_decay` = 1.5: input should be less than or equal to 1"),
        (
            "stage",
            "optimizer_arguments",
            {"beta1": 0.5, "beta_2": 1.0},
            "`optimizer_arguments` = {'beta1': 0.5, 'beta_2': 1.0}: adamw: unknown argument `beta1`. Did you mean "
            "`beta_1`? It takes amsgrad, beta_1, beta_2, clipnorm, clipvalue, ema_momentum, ema_overwrite_frequency, "
            "epsilon, global_clipnorm, gradient_accumulation_steps, loss_scale_factor, name, use_ema, weight_decay; "
            "adamw: `beta_2` = 1.0: must be a number in [0, 1).",
        ),
        (
            "stage",
            "optimizer_arguments",
            {"weight_decay": 0.5},
            "`optimizer_arguments` = {'weight_decay': 0.5}: `weight_decay` is the stage's own `weight_decay`; "
            "write it there.",
        ),
        ("stage", "optimizer_arguments", 3, "`optimizer_arguments` = 3: must be a table, in curly brackets"),
        (
            "stage",
            "schedule",
            "cosin",
            "`schedule` = 'cosin': there is no schedule 'cosin'. Did you mean `cosine`? Schedules: constant, cosine, "
            "one-cycle, plateau, restarts.",
        ),
        (
            "stage",
            "schedule_arguments",
            {"cycles": 3},
            "`schedule_arguments` = {'cycles': 3}: schedule \"cosine\": unknown argument `cycles`. It takes floor.",
        ),
        ("stage", "weight_decay", -1.0, "`weight_decay` = -1.0: input should be greater than or equal to 0"),
        ("stage", "label_smoothing", 1, "`label_smoothing` = 1: input should be less than 1"),
        (
            "stage",
            "augmentation",
            {"rotate": 200, "sheer": 3},
            "`augmentation` = {'rotate': 200, 'sheer': 3}: `rotate` = 200: must be a number from 0 to 180 (largest "
            "angle, degrees, either way); there is no step `sheer`. Did you mean `shear`? "
            f"The steps are {', '.join(STEPS)}.",
        ),
        (
            "head",
            "augmentation",
            "standart",
            "`augmentation` = 'standart': there is no policy 'standart'. Did you mean `standard`? There are "
            f"{', '.join(POLICIES)}; or write a table of steps.",
        ),
        ("head", "augmentation", 3, "`augmentation` = 3: a policy is a name or a table of steps, not 3."),
        ("head", "views", -1, "`views` = -1: input should be greater than or equal to 0"),
        ("stage", "regularizers", 3, "`regularizers` = 3: must be a table, in curly brackets"),
        ("top", "image_size", 31, f"`image_size` = 31: {IMAGE_SIZE}"),
        ("top", "image_size", 1025, f"`image_size` = 1025: {IMAGE_SIZE}"),
        ("top", "image_size", "big", f"`image_size` = 'big': {IMAGE_SIZE}"),
        ("top", "fit", "stretch", '`fit` = \'stretch\': must be "squish", "crop" or "pad"'),
        ("top", "name", 3, "`name` = 3: input should be a valid string"),
        ("top", "backbone", "resnet", "`backbone` = 'resnet': unknown backbone 'resnet'. Did you mean 'resnet50'?"),
        ("top", "head", 3, "`head` = 3: must be a section with keys of its own"),
        ("top", "stages", 3, "`stages` = 3: must be a list, in square brackets"),
        ("top", "zzz", 3, f"unknown key `zzz`. The keys are {KEYS}."),
        ("top", "stage", [], "unknown key `stage`. Did you mean `stages`?"),
    ],
)
def test_one_fault_is_one_line(section, key, value, message):
    place = {"top": "", "head": ", head", "stage": f", stage 2 '{value if key == 'name' else 'top'}'"}[section]

    def change(values):
        {"top": values, "head": values["head"], "stage": values["stages"][1]}[section][key] = value

    assert faults(change) == f"mine.toml{place}: {message}"


BOTH = ["tiny_random", "efficientnet_lite0"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbones": BOTH, "stages": []}, None),
        ({"backbones": BOTH, "members": {"by": "backbones", "count": 2}}, None),
        ({"members": {"by": "seeds", "count": 3}}, None),
        ({"members": {"by": "folds", "count": 5}, "stages": []}, None),
        ({"backbones": BOTH[::-1], "stages": []}, "names `backbone` or `backbones`, not both"),
        ({"backbones": ["tiny_random"], "stages": []}, "two or more that differ; a single one is `backbone`"),
        ({"backbones": ["tiny_random", "tiny"], "stages": []}, "unknown backbone 'tiny'"),
        ({"backbones": BOTH}, 'read by a probe, which has no stages; .* members = { by = "backbones", count = 2 }'),
        ({"backbones": BOTH, "stages": [], "weights": "x.pth"}, 'several have `weights` = "pretrained"'),
        (
            {"backbones": BOTH, "members": {"by": "backbones", "count": 3}},
            "`backbones.*: 3 members by backbones need as many names",
        ),
        ({"members": {"by": "seeds", "count": 3}, "stages": []}, "a probe is the same for every seed"),
        ({"members": {"by": "seeds", "count": 1}}, "`members.*: `count` must be a whole number from 2 to 20"),
        ({"members": "three"}, 'must be "none", or a table such as { by = "seeds", count = 3 }'),
        ({"members": {"by": "folds", "number": 3}}, "must have the keys `by` and `count`, not 'by', 'number'"),
        ({"members": {"by": "seed", "count": 3}}, "`by` must be 'seeds' or 'folds' or 'backbones'"),
    ],
)
def test_several_backbones_and_members(changes, message):
    values = tomllib.loads(GOOD) | changes
    if message is None:
        recipe = recipes.check_recipe(values, "mine.toml")
        assert recipes.check_recipe(tomllib.loads(recipe.to_toml()), "again") == recipe
        assert recipe.joined == (tuple(BOTH) if changes.get("stages") == [] and "backbones" in changes else ())
    else:
        assert re.search(message, faults(lambda given: given.update(changes)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"average": "mean"}, '`average` = \'mean\': must be of the weights of many steps: "none", "ema" or "swa"'),
        ({"snapshots": 1}, "`snapshots` = 1: one snapshot is no average; 0 for none, or 2 and more"),
        (
            {"snapshots": 2},
            '`snapshots` = 2: snapshots are taken at the ends of cycles, so `schedule` must be "restarts"',
        ),
        (
            {"snapshots": 4, "schedule": "restarts", "schedule_arguments": {}},
            "`snapshots` = 4: the schedule has 3 cycles; name more of them in `schedule_arguments`",
        ),
        (
            {"snapshots": 2, "schedule": "restarts", "schedule_arguments": {}, "average": "swa"},
            '`snapshots` = 2: a stage averages in one way: write average = "none", or no snapshots',
        ),
        (
            {"average": "ema", "optimizer_arguments": {"use_ema": True}},
            "`average` = 'ema': `optimizer_arguments` has a moving average already; write it in one place",
        ),
    ],
)
def test_averages_that_cannot_be(changes, message):
    assert faults(lambda values: values["stages"][1].update(changes)) == f"mine.toml, stage 2 'top': {message}"


def test_snapshots_go_with_cycles_and_a_full_batch_optimizer_averages_nothing():
    values = tomllib.loads(GOOD)
    values["stages"][1] |= {"snapshots": 4, "schedule": "restarts", "schedule_arguments": {"cycles": 4}}
    assert recipes.check_recipe(values, "mine.toml").stages[1].snapshots == 4
    change = {"optimizer": "lbfgs", "average": "swa"}
    assert "lbfgs goes to a minimum and has nothing to average" in faults(lambda v: v["stages"][1].update(change))


def test_a_full_batch_optimizer_takes_no_rates():
    whole = {"optimizer": "lbfgs", "optimizer_arguments": {"memory": 5}, "learning_rate": 1.0, "layer_decay": 1.0}
    whole |= {"schedule": "constant", "schedule_arguments": {}, "weight_decay": 0.0, "warmup": 0.0}
    whole |= {"augmentation": "none", "regularizers": {"l2": 0.01}}
    values = tomllib.loads(GOOD)
    values["stages"][1] |= whole
    assert recipes.check_recipe(values, "mine.toml").stages[1].optimizer == "lbfgs"
    one = "mine.toml, stage 2 'top': `learning_rate` = 0.1: lbfgs finds its steps by itself, so this must be 1.0"
    assert faults(lambda values: values["stages"][1].update(whole | {"learning_rate": 0.1})) == one
    found = faults(lambda values: values["stages"][1].update({"optimizer": "newton-cg"}))
    assert re.findall(r"`(\w+)` = ", found) == [
        *("learning_rate", "layer_decay", "schedule", "weight_decay", "warmup", "augmentation")
    ]
    found = faults(lambda values: values["stages"][1].update(whole | {"regularizers": {"dropout": 0.2, "l2": 0.1}}))
    assert found.endswith("lbfgs needs the same loss at every look, which dropout would change")
    found = faults(lambda values: values["stages"][1].update(whole | {"optimizer_arguments": {"max_iterations": 5}}))
    assert "`max_iterations` is the stage's own `epochs`" in found


def test_pictures_are_mixed_with_others_of_their_batch():
    found = faults(lambda values: values["stages"][1].update(batch_size=1, augmentation={"mix_up": 0.2}))
    assert found.endswith("mixing needs two pictures in a batch, and `batch_size` is 1")


def test_what_is_left_to_the_decision_is_filled_in_and_what_was_named_stays():
    values = tomllib.loads(GOOD)
    values["stages"][1]["augmentation"] = {"rotate": 5}
    recipe = recipes.check_recipe(values, "mine.toml")
    assert recipe.leaves_augmentation
    recipe = recipe.with_augmentation("documents")
    assert not recipe.leaves_augmentation
    assert recipe.stages[0].augmentation == recipe.augmentation == "documents"
    assert recipe.stages[1].augmentation == {"rotate": 5}
    assert recipe.head.augmentation == "auto"  # without views there is nothing to augment
    values["head"]["views"] = 2
    assert recipes.check_recipe(values, "mine.toml").with_augmentation("light").head.augmentation == "light"


def test_steps_may_be_added_to_what_the_decision_picks():
    values = tomllib.loads(GOOD)
    values["stages"][1]["augmentation"] = {"policy": "auto", "cut_mix": 1.0}
    recipe = recipes.check_recipe(values, "mine.toml")
    again = recipes.check_recipe(tomllib.loads(recipe.to_toml()), "again.toml")
    for one in (recipe, again):
        assert one.leaves_augmentation
        (*_, stage) = one.with_augmentation("documents").stages
        assert read_policy(stage.augmentation).digest == read_policy({"policy": "documents", "cut_mix": 1.0}).digest
    values["stages"][1]["augmentation"] = {"policy": "auto", "cut_mix": -1.0, "tilt": 1}
    with pytest.raises(RecipeError, match=r"no step `tilt`") as caught:
        recipes.check_recipe(values, "mine.toml")
    assert "`cut_mix` = -1" in str(caught.value)


def test_a_policy_keeps_the_order_of_its_steps_on_its_way_through_a_file():
    policy = {"lens": {"strength": 0.1, "chance": 0.3}, "rotate": 10, "blur": {"sigma": 1}, "hue": 0.1}
    values = tomllib.loads(GOOD)
    values["stages"][1]["augmentation"] = values["head"]["augmentation"] = policy
    text = recipes.check_recipe(values, "mine.toml").to_toml()
    again = recipes.check_recipe(tomllib.loads(text), "again.toml")
    for part in (again.head, again.stages[1]):
        assert read_policy(part.augmentation).digest == read_policy(policy).digest


def test_an_optimizer_may_be_written_in_other_ways(mine):
    recipe = load_recipe(mine, ["stages.top.optimizer=Decayed_Adagrad", "stages.top.optimizer_arguments.decay=0.9"])
    assert recipe.stages[1].optimizer == "decayed-adagrad"
    assert recipe.stages[1].optimizer_arguments == {"decay": 0.9}


def test_a_stage_that_is_no_section():
    assert faults(lambda values: values.update(stages=[3])) == (
        "mine.toml, stage 1: must be a section with keys of its own, not 3."
    )


def test_a_long_value_is_cut():
    found = faults(lambda values: values.update(backbone="x" * 500))
    assert found.startswith("mine.toml: `backbone` = 'xxxx")
    assert "...: unknown backbone" in found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = ", "not valid TOML: Invalid value"),
        (b"[head]\n[head]\n", "not valid TOML: Cannot declare .'head',. twice"),
        (b"\x00\x01\x02", "not valid TOML"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", r"not a text file in UTF-8\. A recipe is a TOML file\."),
        (GOOD.encode("utf-16"), "not a text file in UTF-8"),
        (b"", "`name` is missing"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path, content, message):
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    with pytest.raises(RecipeError, match=rf"mine\.toml: {message}") as caught:
        load_recipe(file)
    assert caught.value.__suppress_context__


def test_a_path_that_leads_to_no_file(tmp_path):
    (tmp_path / "folder.toml").mkdir()
    for path in (tmp_path, tmp_path / "folder.toml", tmp_path / "absent.toml", Path("absent.toml")):
        with pytest.raises(RecipeError, match=re.escape(f"{path}: no such recipe file.")):
            load_recipe(path)


def test_a_name_that_no_recipe_has():
    with pytest.raises(RecipeError, match=r"No recipe is called 'linear_probe'\. Did you mean 'linear-probe'\?") as e:
        find_recipe("linear_probe")
    assert all(name in str(e.value) for name in SHIPPED)
    with pytest.raises(RecipeError, match=r"No recipe is called 'zzz'\. There are"):
        find_recipe("zzz")


def test_a_shipped_name_comes_before_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "linear-probe").mkdir()
    assert load_recipe("linear-probe").name == "linear-probe"


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        ("head.folds=7", lambda recipe: recipe.head.folds == 7),
        (" head.folds = 7 ", lambda recipe: recipe.head.folds == 7),
        ("head.strengths=[2.0, 0.5]", lambda recipe: recipe.head.strengths == (2.0, 0.5)),
        ('head.taps=["stem", "top"]', lambda recipe: recipe.head.taps == ("stem", "top")),
        ("stages.top.epochs=5", lambda recipe: [stage.epochs for stage in recipe.stages] == [10, 5]),
        ("stages.0.epochs=5", lambda recipe: [stage.epochs for stage in recipe.stages] == [5, 10]),
        ("stages.1.learning_rate=1e-3", lambda recipe: recipe.stages[1].learning_rate == 1e-3),
        ("stages=[]", lambda recipe: recipe.stages == ()),
        ("image_size=64", lambda recipe: recipe.image_size == 64),
        ("fit=crop", lambda recipe: recipe.fit == "crop"),
        ("backbone=efficientnet_lite1", lambda recipe: recipe.backbone == "efficientnet_lite1"),
        ('backbone="efficientnet_lite1"', lambda recipe: recipe.backbone == "efficientnet_lite1"),
        ("weights=a/b=c.weights.h5", lambda recipe: recipe.weights == "a/b=c.weights.h5"),
        ("head.taps=all", lambda recipe: recipe.head.taps == "all"),
    ],
)
def test_settings(mine, setting, found):
    before = load_recipe(mine)
    assert not found(before)
    assert found(load_recipe(mine, [setting]))
    assert load_recipe(mine) == before  # the file itself stays


def test_of_two_settings_the_later_one_counts(mine):
    assert load_recipe(mine, ["head.folds=7", "head.folds=9", "head.shuffles=1"]).head.folds == 9


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("head.folds", "--set head.folds: write it as key=value, for example head.folds=3."),
        ("=3", "--set =3: write it as key=value, for example head.folds=3."),
        ("head.=3", "--set head.=3: write it as key=value, for example head.folds=3."),
        ("haed.folds=3", "--set haed.folds=3: no section 'haed'. Did you mean 'head'?"),
        ("stages.tip.epochs=3", "--set stages.tip.epochs=3: no stage 'tip'; there are warm, top."),
        ("stages.2.epochs=3", "--set stages.2.epochs=3: no stage '2'; there are warm, top."),
        ("name.first=3", "--set name.first=3: 'name' has no settings of its own."),
        ("name.first.letter=3", "--set name.first.letter=3: no section 'first'."),
        ("head.fold=3", "mine.toml, head: unknown key `fold`. Did you mean `folds`?"),
        ("stages.top.epoch=3", "mine.toml, stage 2 'top': unknown key `epoch`. Did you mean `epochs`?"),
        (
            "head.zzz=3",
            "mine.toml, head: unknown key `zzz`. The keys are taps, pooling, strengths, folds, shuffles, views, "
            "augmentation.",
        ),
        ("zzz.folds=3", "--set zzz.folds=3: no section 'zzz'. The sections are head, stages."),
        ("head.folds=three", "mine.toml, head: `folds` = 'three': input should be a valid integer"),
        ("name=", "mine.toml: `name` = '': must not be empty"),
    ],
)
def test_settings_that_do_not_fit(mine, setting, message):
    with pytest.raises(RecipeError) as caught:
        load_recipe(mine, [setting])
    assert str(caught.value) == message


def test_a_setting_for_a_stage_of_a_recipe_without_any():
    with pytest.raises(RecipeError, match="no stage 'top'; there are none"):
        load_recipe("linear-probe", ["stages.top.epochs=3"])


def test_a_copy_is_the_file_with_its_comments(tmp_path):
    target = copy_recipe("stage-probe", tmp_path / "mine.toml")
    assert target == tmp_path / "mine.toml"
    assert target.read_bytes() == SHIPPED["stage-probe"].read_bytes()
    into_folder = copy_recipe("stage-probe", tmp_path)
    assert into_folder == tmp_path / "stage-probe.toml"
    assert load_recipe(into_folder) == load_recipe("stage-probe")


def test_a_copy_overwrites_nothing(tmp_path):
    target = tmp_path / "mine.toml"
    target.write_text("precious", "utf-8")
    with pytest.raises(RecipeError, match=r"mine\.toml: exists already and is not overwritten\. Give another name\."):
        copy_recipe("linear-probe", target)
    assert target.read_text("utf-8") == "precious"
    copy_recipe("linear-probe", tmp_path)
    with pytest.raises(RecipeError, match=r"linear-probe\.toml: exists already"):
        copy_recipe("linear-probe", tmp_path)


def test_a_copy_that_cannot_be_made(tmp_path):
    with pytest.raises(RecipeError, match=r"mine\.toml: cannot be written \(No such file or directory\)"):
        copy_recipe("linear-probe", tmp_path / "absent" / "mine.toml")
    with pytest.raises(RecipeError, match="No recipe is called 'nope'"):
        copy_recipe("nope", tmp_path / "mine.toml")
    assert list(tmp_path.iterdir()) == []


def test_listing_and_checking_recipes_needs_no_keras():
    code = (
        "import sys\n"
        "from tltool.recipes import load_recipe, recipe_files\n"
        "print(*[load_recipe(path).name for path in recipe_files().values()])\n"
        "print(sorted({'keras', 'tensorflow', 'sklearn'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == [" ".join(SHIPPED), "[]"]
