"""One direction of flow: a module imports only modules that stand before it in ORDER.

Every import counts, those inside functions and under TYPE_CHECKING too: a type from the right is knowledge of the
right. Inside one package imports are free. `tltool/__init__.py` and `tltool/__main__.py` stand after everything, and
nothing imports them: a module that needs `tltool.fit` needs `tltool.pipeline`.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "tltool").rglob("*.py"))
ORDER = (
    *("errors", "progress", "files", "shipped", "cache", "seed", "startup"),
    *("data", "augment", "layers", "backbones", "optimizers", "features", "heads"),
    *("doctor", "inspection", "decision", "recipe_parts", "recipes"),
    *("training", "evaluation", "export", "run", "ensembles", "report", "judge", "carry_out", "pipeline", "demo"),
    *("console", "cli_options", "cli_augment", "cli_backbones", "cli_compare", "cli_demo", "cli_ensemble"),
    *("cli_optimizers", "cli_recipes", "cli_report", "cli_tune", "ui", "cli"),
)
FACE = "tltool"  # __init__ and __main__
# Streamlit needs these itself and takes what they make, so that its release chooses theirs.
WITH_STREAMLIT = {"altair", "click", "pandas", "starlette"}
# Modules whose sources need an extra of their own; without it they say which.
EXTRAS = {
    "tltool/augment/resampling.py": "jax",
    "tltool/augment/with_keras_cv.py": "augment",
    "tltool/augment/random_lens_distortion.py": "augment",
    "tltool/backbones/hub.py": "hub",
    "tltool/data/tables.py": "parquet",
    "tltool/data/tfds.py": "tfds",
    "tltool/optimizers/differentiation.py": "jax",
    "tltool/optimizers/race_picture.py": "plots",
    "tltool/optimizers/race_gif.py": "plots",
    "tltool/optimizers/race_page.py": "plots",
    "tltool/optimizers/rate_sweep_plot.py": "plots",
    "tltool/training/devices.py": "jax",
    "tltool/training/mlflow_log.py": "mlflow",
    "tltool/training/search.py": "tune",
    "tltool/training/train_step.py": "jax",
}


def place_of(path: Path) -> str:
    """The member of ORDER that a module belongs to."""
    inside = path.relative_to(ROOT / "tltool")
    return FACE if str(inside) in ("__init__.py", "__main__.py") else Path(inside.parts[0]).stem


def imported(text: str) -> Iterator[tuple[int, str]]:
    """Line numbers and dotted names of all absolute imports; `from a import b` gives `a.b`."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write imports in full"
            yield from ((node.lineno, f"{node.module}.{name.name}") for name in node.names)


def backward(place: str, text: str) -> list[str]:
    """The imports of a module at `place` that go against the flow."""
    faults = []
    for line, name in imported(text):
        top, _, rest = name.partition(".")
        if top != "tltool" or place == FACE:
            continue
        target = rest.split(".")[0]
        if target not in ORDER:
            faults.append(f"line {line}: {name} is the public face, not a module")
        elif ORDER.index(target) > ORDER.index(place):
            faults.append(f"line {line}: {name}")
    return faults


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path):
    place = place_of(path)
    assert place == FACE or place in ORDER, f"{path.name}: give it a place in ORDER"
    assert backward(place, path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("place", "text", "faults"),
    [
        ("data", "from tltool.errors import DataError", 0),
        ("data", "from tltool.data.split import assign_parts", 0),
        ("data", "import keras\nfrom tltoolish import x", 0),
        ("errors", "from tltool.data import Dataset", 1),
        ("decision", "def f():\n    from tltool.training.train import train", 1),
        ("decision", "if TYPE_CHECKING:\n    from tltool.pipeline import fit", 1),
        ("training", "import tltool.evaluation.metrics, tltool.errors", 1),
        ("export", "from tltool import pipeline, errors", 1),
        ("ui", "import tltool as tl", 1),
        ("ui", "from tltool import fit", 1),
        ("cli", "from tltool import pipeline\nfrom tltool.ui.launch import launch", 0),
        (FACE, "from tltool.pipeline import fit", 0),
    ],
)
def test_the_check_finds_what_it_must(place: str, text: str, faults: int):
    assert len(backward(place, text)) == faults


def test_order_names_what_there_is():
    assert {place_of(path) for path in MODULES} - {FACE} == set(ORDER)


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def homes() -> Mapping[str, list[str]]:
    """The distributions that bring each top-level package; reading all their records takes a moment."""
    return packages_distributions()


def undeclared(place: str, text: str, core: set[str], app: set[str]) -> list[str]:
    """The imports of a module at `place` that no declared dependency brings."""
    allowed = core | app if place == "ui" else core
    faults = []
    for line, name in imported(text):
        top = name.split(".")[0]
        brought = {normalized(home) for home in homes().get(top, [])}
        if top != "tltool" and top not in sys.stdlib_module_names and not brought & allowed:
            faults.append(f"line {line}: {top}")
    return faults


def test_every_package_that_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]

    def names(requirements: list[str]) -> set[str]:
        return {normalized(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}

    core, app = names(project["dependencies"]), names(extras["app"])
    faults = {}
    for path in MODULES:
        name = path.relative_to(ROOT).as_posix()
        declared = core | names(extras[EXTRAS[name]]) if name in EXTRAS else core
        faults[name] = undeclared(place_of(path), path.read_text("utf-8"), declared, app | WITH_STREAMLIT)
    assert {path: lines for path, lines in faults.items() if lines} == {}
    assert undeclared("data", "import json, pytest, numpy", core, app) == ["line 1: pytest"]
    assert undeclared("data", "import pandas", core, app | WITH_STREAMLIT) == ["line 1: pandas"]
