"""The wheel: holds what the checkout has beside the package, declares what it needs, and works outside a checkout.

The environment is a new `venv` that sees the packages of the running one through a `.pth` file, and tltool from the
wheel alone: Python does not follow the `.pth` files of a folder that was itself added by one, so an editable install
is not seen through it. Installing TensorFlow anew would prove a little more and cost minutes; that the declared
dependencies suffice is checked from the wheel's metadata here, and that nothing else is imported in test_imports.py.
"""

import email
import shutil
import site
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.pictures import make_class_folders
from tests.trained import TINY

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: nothing appears in the checkout, and nothing that lies about in it goes in unseen."""
    source = tmp_path_factory.mktemp("source") / "tltool"
    leave = shutil.ignore_patterns(".*", "__pycache__", "runs", "dist", "build", "demo-*")
    shutil.copytree(ROOT, source, ignore=leave)
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = target.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """The interpreter of a new environment with the wheel in it."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(folder, with_pip=True)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    interpreter = scripts / ("python.exe" if sys.platform == "win32" else "python")
    install = [str(interpreter), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    purelib = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    folders = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()])
    Path(purelib, "running_environment.pth").write_text("\n".join(folders), "utf-8")
    return interpreter


def run(command: list[object], folder: Path) -> str:
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        recipes = {path.name: path.read_bytes() for path in (ROOT / "recipes").glob("*.toml")}
        assert recipes
        for name, content in recipes.items():
            assert archive.read(f"tltool/recipes/{name}") == content
        assert archive.read("tltool/app.py") == (ROOT / "app.py").read_bytes()
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tltool").rglob("*.py")}
    assert modules <= names
    assert not [name for name in names if name.startswith("tests/") or name.endswith(".pyc")]
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"tltool"}


def test_declared_dependencies_are_those_that_the_tests_ran_with(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_string(archive.read(name).decode())
    needed = [Requirement(text) for text in metadata.get_all("Requires-Dist")]
    always = [requirement for requirement in needed if requirement.marker is None]
    assert {"keras", "tensorflow", "openvino", "numpy"} <= {requirement.name for requirement in always}
    for requirement in always:
        assert requirement.specifier.contains(version(requirement.name), prereleases=True), requirement
    assert metadata["Version"] == version("tltool")


def test_the_wheel_works_outside_the_checkout(python, tmp_path):
    script = python.with_name("tltool")
    where = Path(run([python, "-c", "import tltool; print(tltool.__file__)"], tmp_path).strip())
    assert where.is_relative_to(python.parents[1])
    assert not where.is_relative_to(ROOT)

    listed = run([script, "recipes", "list"], tmp_path)
    names = sorted(path.stem for path in (ROOT / "recipes").glob("*.toml"))
    assert [line.split()[0] for line in listed.splitlines()] == names

    make_class_folders(tmp_path / "photos", {"ant": 6, "bee": 6})
    program = (
        "import sys, tltool, tltool.pipeline\n"
        "run = tltool.fit('photos', 'linear-probe', settings=sys.argv[1:])\n"
        "print(run.path.as_posix(), run.metrics.pictures)\n"
        "loaded = [module for name, module in sys.modules.items() if name.split('.')[0] == 'tltool']\n"
        "print(*{module.__file__ for module in loaded}, sep='\\n')\n"
    )
    first, *files = run([python, "-c", program, *TINY], tmp_path).splitlines()
    assert first == "runs/photos-1 2"
    assert len(files) > 20
    assert all(Path(file).is_relative_to(where.parent) for file in files)
