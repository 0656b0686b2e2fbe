"""The command line: exit statuses, what goes to which stream, and what a user's mistakes are answered with."""

import csv
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pictures import make_class_folders, make_picture
from tests.trained import CLASSES, TINY, copy_pictures, finished_run
from tltool.cli import main
from tltool.cli_options import parse_time
from tltool.decision import TABLE
from tltool.errors import TltoolError
from tltool.recipes import load_recipe, recipe_files
from tltool.training.run_folder import create_run

TINY_OPTIONS = [part for setting in TINY for part in ("--set", setting)]


@pytest.fixture
def tltool(monkeypatch, capfd, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in `tmp_path`, in this process; returns exit status, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["tltool", *map(str, arguments)])
        capfd.readouterr()
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        out, err = capfd.readouterr()
        return status, out, err

    return run


def start(*arguments: object, folder: Path, code: str = "from tltool.cli import main; main()") -> subprocess.Popen:
    """The same in a process of its own."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def snapshot(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
    }


def strict(text: str) -> dict:
    """Parses standard output that must be one JSON object and nothing else."""
    value = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert isinstance(value, dict)
    return value


# What a user can get wrong: makes the mistake in a folder, and returns the command.


def empty_folder(folder: Path) -> list:
    (folder / "photos").mkdir()
    return ["fit", "photos"]


def one_class(folder: Path) -> list:
    make_class_folders(folder / "photos", {"ant": 4})
    return ["fit", "photos"]


def one_picture(folder: Path) -> list:
    make_class_folders(folder / "photos", {"ant": 4, "bee": 1})
    return ["fit", "photos"]


def no_folder(folder: Path) -> list:
    return ["inspect", "photos"]


def photos(folder: Path) -> Path:
    return make_class_folders(folder / "photos", {"ant": 3, "bee": 3})


def not_toml(folder: Path) -> list:
    photos(folder)
    (folder / "mine.toml").write_text("name = mine")
    return ["fit", "photos", "--recipe", "mine.toml"]


def misspelt_key(folder: Path) -> list:
    photos(folder)
    text = recipe_files()["finetune-top"].read_text("utf-8")
    (folder / "mine.toml").write_text(text.replace("patience =", "patiense ="), "utf-8")
    return ["recipes", "check", "mine.toml"]


def no_recipe_file(folder: Path) -> list:
    photos(folder)
    return ["fit", "photos", "--recipe", "mine.toml"]


def misspelt_recipe(folder: Path) -> list:
    photos(folder)
    return ["fit", "photos", "--recipe", "linear-prob"]


def unknown_class(folder: Path) -> list:
    make_class_folders(folder / "photos" / "train", {"ant": 3, "bee": 3})
    make_class_folders(folder / "photos" / "test", {"ant": 1, "wasp": 1})
    return ["fit", "photos"]


def out_is_a_run(folder: Path) -> list:
    photos(folder)
    create_run(folder / "run", "run", "linear-probe", 0)
    return ["fit", "photos", "--out", "run"]


def out_is_not_empty(folder: Path) -> list:
    photos(folder)
    (folder / "thesis").mkdir()
    (folder / "thesis" / "chapter1.txt").write_text("years of work")
    return ["fit", "photos", "--out", "thesis"]


def unknown_setting(folder: Path) -> list:
    photos(folder)
    return ["fit", "photos", "--recipe", "linear-probe", "--set", "head.fold=3", "--out", "run"]


def unknown_setting_for_the_table(folder: Path) -> list:
    photos(folder)
    return ["fit", "photos", "--set", "haed.folds=3", "--out", "run"]


def setting_like_no_other(folder: Path) -> list:
    photos(folder)
    return ["fit", "photos", "--set", "head.zzz=3", "--out", "run"]


def setting_without_a_value(folder: Path) -> list:
    photos(folder)
    return ["fit", "photos", "--set", "backbone", "--out", "run"]


def bad_budget(folder: Path) -> list:
    photos(folder)
    return ["fit", "photos", "--budget", "soon", "--out", "run"]


def unknown_format(folder: Path) -> list:
    return ["export", finished_run().path, "--formats", "keras,onyx", "--out", "out"]


def export_unfinished(folder: Path) -> list:
    create_run(folder / "run", "run", "linear-probe", 0)
    return ["export", "run", "--out", "out"]


def resume_done(folder: Path) -> list:
    return ["resume", finished_run().path]


def resume_nothing(folder: Path) -> list:
    return ["resume", "photos"]


def resume_damaged(folder: Path) -> list:
    create_run(folder / "run", "run", "linear-probe", 0)
    (folder / "run" / "request.json").write_text("{")
    return ["resume", "run"]


def tune_a_probe(folder: Path) -> list:
    photos(folder)
    return ["tune", "photos", "--recipe", "linear-probe", "--budget", "1m"]


def export_over_something(folder: Path) -> list:
    (folder / "out").mkdir()
    (folder / "out" / "model.keras").write_text("mine")
    return ["export", finished_run().path, "--out", "out"]


def no_model(folder: Path) -> list:
    make_picture(folder / "a.png")
    return ["predict", "modle", "a.png"]


def csv_exists(folder: Path) -> list:
    make_picture(folder / "a.png")
    (folder / "results.csv").write_text("mine")
    return ["predict", finished_run().path, "a.png", "--csv", "results.csv"]


def csv_nowhere(folder: Path) -> list:
    return ["predict", "unread", "a.png", "--csv", "missing/results.csv"]


def csv_with_a_long_name(folder: Path) -> list:
    return ["predict", "unread", "a.png", "--csv", "a" * 300]


def only_bad_pictures(folder: Path) -> list:
    (folder / "a.png").write_text("no picture")
    return ["predict", finished_run().path, "a.png", "missing.png"]


def no_run(folder: Path) -> list:
    photos(folder)
    return ["evaluate", "photos", "photos"]


def copy_over_something(folder: Path) -> list:
    (folder / "mine.toml").write_text("mine")
    return ["recipes", "copy", "linear-probe", "mine.toml"]


MISTAKES = [
    (empty_folder, ["photos: no class folders", "Put the pictures of each class in a folder"]),
    (one_class, ["photos: only one class, 'ant'", "at least 2", "Put each class in a folder of its own"]),
    (one_picture, ["photos: class 'bee' has 1 image", "at least 2 are needed", "Add images or remove the class"]),
    (no_folder, ["photos: no such file or folder", "Check the path"]),
    (not_toml, ["mine.toml: not valid TOML", "line 1"]),
    (misspelt_key, ["mine.toml, stage 1 'top': unknown key `patiense`", "Did you mean `patience`?"]),
    (no_recipe_file, ["mine.toml: no such recipe file"]),
    (misspelt_recipe, ["'linear-prob'", "Did you mean 'linear-probe'?"]),
    (unknown_class, ["photos: classes that the train part does not have: test: wasp", "Add pictures of them"]),
    (out_is_a_run, ["run: already holds a run", "Give another --out"]),
    (out_is_not_empty, ["thesis: exists and is not empty", "Give another --out"]),
    (unknown_setting, ["head: unknown key `fold`", "Did you mean `folds`?"]),
    (unknown_setting_for_the_table, ["--set haed.folds=3: no section 'haed'", "Did you mean 'head'?"]),
    (setting_without_a_value, ["--set backbone: write it as key=value"]),
    (bad_budget, ["--budget soon: write a time above 0, such as 90s, 10m or 2h"]),
    (unknown_format, ["Cannot export to onyx", "offered: keras"]),
    (export_unfinished, ["run: this run is queued, so it has no model to use. Wait for it."]),
    (resume_done, ["this run is done; there is nothing to resume"]),
    (resume_nothing, ["photos: not a run folder (run.json is missing)"]),
    (resume_damaged, ["request.json: damaged", "Fit again"]),
    (tune_a_probe, ["linear-probe: there is nothing to search, as it only solves a head. Give --recipe finetune-top"]),
    (export_over_something, ["out: exists and is not empty", "Give another --out", "nothing is overwritten"]),
    (no_model, ["modle: no such model", "Give a run folder, an exported bundle or a .keras file"]),
    (csv_exists, ["results.csv: exists already and is not overwritten", "Give another --csv"]),
    (csv_nowhere, ["results.csv: there is no folder missing", "Make it, or give another --csv"]),
    (csv_with_a_long_name, ["aaa: cannot be written (File name too long)", "Give another --csv"]),
    (
        setting_like_no_other,
        ["head: unknown key `zzz`", "The keys are taps, pooling, strengths, folds, shuffles, views, augmentation."],
    ),
    (only_bad_pictures, ["None of the pictures could be read"]),
    (no_run, ["photos: not a run folder (run.json is missing)"]),
    (copy_over_something, ["mine.toml: exists already and is not overwritten", "Give another name"]),
]


@pytest.mark.parametrize(("make", "fragments"), MISTAKES, ids=[make.__name__ for make, _ in MISTAKES])
def test_a_mistake_is_one_clear_line(tltool, tmp_path, make, fragments):
    command = make(tmp_path)
    before = snapshot(tmp_path)
    status, out, err = tltool(*command)
    assert status == 2
    assert out == ""
    said = err[err.index("tltool: ") :]
    assert len(said.splitlines()) == (2 if make is misspelt_key else 1)  # the one is missing, the other is unknown
    for fragment in fragments:
        assert fragment in said
    assert "Traceback" not in err
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "command",
    [
        ["frobnicate"],
        ["fit"],
        ["fit", "photos", "--seed", "-1"],
        ["fit", "photos", "--seed", str(2**31)],
        ["app", "--port", "0"],
        ["fit", "a", "b"],
    ],
)
def test_wrong_usage_is_status_2(tltool, command):
    status, out, err = tltool(*command)
    assert status == 2
    assert out == ""
    assert "Usage: " in err
    assert "--help' for help" in err
    assert "Traceback" not in err


def test_an_error_of_our_own_is_status_1_with_a_traceback(tmp_path):
    code = (
        "import tltool.recipes\n"
        "def fail(): raise ZeroDivisionError('a bug')\n"
        "tltool.recipes.recipe_files = fail\n"
        "from tltool.cli import main; main()"
    )
    process = start("recipes", "list", folder=tmp_path, code=code)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert out == ""
    assert "ZeroDivisionError: a bug" in err


HEAVY = ("tensorflow", "keras", "jax", "torch", "openvino", "sklearn", "streamlit")
LOOK = f"print('loaded:', *[name for name in {HEAVY!r} if name in sys.modules])"


@pytest.mark.parametrize(
    "program",
    [
        "import tltool",
        "import tltool; tltool.Recipe, tltool.load_recipe('linear-probe'), tltool.load_dataset, tltool.TltoolError",
        "main('--help')",
        "main('fit', '--help')",
        "main('recipes')",
        "main('recipes', 'list')",
        "main('recipes', 'show', 'finetune-all')",
        "main('recipes', 'check', 'stage-probe')",
        "main('runs')",
        "main('fit', 'missing', '--budget', 'soon')",
    ],
)
def test_light_commands_load_nothing_heavy(tmp_path, program):
    define = (
        "import sys\n"
        "def main(*arguments):\n"
        "    from tltool import cli\n"
        "    sys.argv = ['tltool', *arguments]\n"
        "    try: cli.main()\n"
        "    except SystemExit: pass\n"
    )
    process = start(folder=tmp_path, code=f"{define}{program}\n{LOOK}")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.splitlines()[-1] == "loaded:"


def test_the_look_for_heavy_modules_finds_them(tmp_path):
    process = start(folder=tmp_path, code=f"import sys, sklearn\n{LOOK}")
    assert process.communicate(timeout=60)[0].splitlines()[-1] == "loaded: sklearn"


def test_fit_in_a_process_of_its_own(tmp_path):
    """Progress on one stream, results on the other: what native libraries print counts as well."""
    data = copy_pictures(tmp_path / "photos", range(10))
    before = snapshot(data)
    process = start("fit", "photos", "--recipe", "stage-probe", *TINY_OPTIONS, folder=tmp_path)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    run = Path("runs") / "photos-1"
    assert out.splitlines()[0] == f"Run: {run}"
    assert out.splitlines()[1] == "Recipe: stage-probe"
    assert out.splitlines()[2] == f"Report: {run / 'report.html'}"
    assert out.splitlines()[3].startswith("Held out: top-1 ")
    metrics = strict((tmp_path / run / "metrics.json").read_text("utf-8"))
    assert f"top-1 {metrics['top1']:.1%}" in out
    told = [line.strip() for line in err.splitlines() if line.strip()]
    assert told[0] == "Starting Keras"
    assert "Reading 30 pictures" in told
    assert "Saving the model" in told
    assert [line for line in told if line.startswith("Decision: ")]
    # Nothing that TensorFlow says when it starts.
    assert not [line for line in told if any(word in line for word in ("cuda", "oneDNN", "absl", "tensorflow/"))]
    assert snapshot(data) == before


def test_inspect_json_in_a_process_of_its_own(tmp_path):
    copy_pictures(tmp_path / "photos", range(8), ["ant", "bee"])
    process = start("inspect", "photos", "--set", "backbone=tiny_random", "--json", folder=tmp_path)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    facts = strict(out)
    assert facts["size"]["per_class"] == {"ant": 6, "bee": 6}
    assert facts["backbone"] == "tiny_random"
    assert facts["decision"]["recipe"] in recipe_files()
    decision = facts["decision"]
    assert decision["prior"] == TABLE[decision["amount"], decision["kinship"]]
    assert [baseline["recipe"] for baseline in facts["baselines"]] == ["linear-probe", "stage-probe"]
    assert "Starting Keras" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_an_interrupted_fit_says_so(tmp_path):
    copy_pictures(tmp_path / "photos", range(8), ["ant", "bee"])
    # A test that is itself started in the background inherits a disposition to ignore interrupts.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\nfrom tltool.cli import main; main()"
    )
    forever = ["--set", "stages.top.epochs=100000", "--set", "stages.top.patience=100000"]
    process = start(
        "fit", "photos", "--recipe", "finetune-top", *TINY_OPTIONS, *forever, "--out", "run", folder=tmp_path, code=code
    )
    events = tmp_path / "run" / "events.jsonl"
    try:
        deadline = time.monotonic() + 120
        while not (events.exists() and '"epoch"' in events.read_text("utf-8")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1
    assert out == ""
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "tltool: stopped."
    assert strict((tmp_path / "run" / "run.json").read_text("utf-8"))["state"] == "stopped"
    assert not (tmp_path / "run" / "model.keras").exists()


def spoil(folder: Path) -> dict[str, str]:
    """Adds files that cannot be used; their names, and a word of what is said of each."""
    (folder / "ant" / "notes.txt").write_text("about ants")
    (folder / "ant" / "empty.png").write_bytes(b"")
    torn = make_picture(folder / "bee" / "torn.jpg", size=64)
    torn.write_bytes(torn.read_bytes()[:-200])
    return {"ant/notes.txt": "not a picture", "ant/empty.png": "empty (0 bytes)", "bee/torn.jpg": "damaged"}


@pytest.mark.parametrize("command", ["fit", "inspect"])
def test_bad_files_are_named_once_and_left_out(tltool, tmp_path, command):
    data = copy_pictures(tmp_path / "photos", range(6), ["ant", "bee"])
    bad = spoil(data)
    before = snapshot(data)
    options = ["--recipe", "linear-probe", "--out", "run"] if command == "fit" else []
    status, out, err = tltool(command, "photos", *(TINY_OPTIONS if options else TINY_OPTIONS[:2]), *options)
    assert status == 0
    told = (err if command == "fit" else out).splitlines()
    for name, reason in bad.items():
        (line,) = [line for line in told if name in line]
        assert "left out: " in line.lower()
        assert reason in line
    assert snapshot(data) == before


def test_too_few_readable_pictures_is_status_2(tltool, tmp_path):
    data = copy_pictures(tmp_path / "photos", range(2), ["ant", "bee"])
    (data / "bee" / "bee_0001.png").write_bytes(b"\x89PNG but no more")
    before = snapshot(data)
    status, out, err = tltool("inspect", "photos", "--set", "backbone=tiny_random")
    assert (status, out) == (2, "")
    last = err.splitlines()[-1]
    assert last.startswith("tltool: photos: class 'bee' has 1 image; at least 2 are needed")
    assert "bee/bee_0001.png" in last
    assert snapshot(data) == before


def test_inspect_shows_the_table_with_its_cell(tltool, tmp_path):
    copy_pictures(tmp_path / "photos", range(8), ["ant", "bee"])
    status, out, _ = tltool("inspect", "photos", "--set", "backbone=tiny_random")
    assert status == 0
    assert "photos: 16 readable pictures" in out
    (cell,) = re.findall(r"> (\S+) <", out)
    assert f"The table says {cell}: " in out
    assert out.splitlines()[-1].startswith("Recipe: ")


def test_evaluate_says_what_it_left_out(tltool, tmp_path):
    run = finished_run()
    (tmp_path / "ant").mkdir()
    status, out, err = tltool("evaluate", run.path, run.data.root, "--json")
    assert status == 0
    values = strict(out)
    learned = len(run.data.indices("train", "valid"))
    assert values["left_out_as_seen"] == learned
    assert values["pictures"] == len(run.data) - learned
    assert f"{learned} pictures are left out: the run has learned from them." in err
    status, out, _ = tltool("evaluate", run.path, run.data.root)
    assert status == 0
    assert out.startswith("Held out: top-1 ")


def test_export_then_predict(tltool, tmp_path):
    status, out, _ = tltool("export", finished_run().path, "--out", "bundle")
    assert (status, out) == (0, f"{Path('bundle') / 'model.keras'}\n")
    make_class_folders(tmp_path / "new", {"ant": 2, "bee": 1}, size=48, seed=2)
    (tmp_path / "new" / "torn.png").write_bytes(b"\x89PNG")
    single = make_picture(tmp_path / "single.png", size=48)
    status, out, err = tltool("predict", "bundle", "new", single, "missing.png")
    assert status == 0
    rows = [line.split("\t") for line in out.splitlines()]
    assert [Path(row[0]).name for row in rows] == ["ant_0000.png", "ant_0001.png", "bee_0000.png", "single.png"]
    assert all(row[1] in CLASSES and 1 / 3 < float(row[2]) <= 1 for row in rows)
    told = [line for line in err.splitlines() if line.startswith("Left out: ")]
    assert len(told) == 2
    assert "missing.png: no such file" in told[0]
    assert "torn.png" in told[1]

    status, out, err = tltool("predict", "bundle", "new", "--csv", "results.csv")
    assert (status, out) == (0, "")
    assert "3 predictions written to results.csv" in err
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["path", "label", "confidence", "prob:ant", "prob:bee", "prob:cat"]
    assert [[row["path"], row["label"], f"{float(row['confidence']):.4f}"] for row in table] == [
        r[:3] for r in rows[:3]
    ]

    status, _, _ = tltool("predict", "bundle", "new", "--csv", "sets.csv", "--coverage", "0.8")
    assert status == 0
    with (tmp_path / "sets.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0])[-3:] == ["prob:cat", "set", "known"]
    assert all(row["label"] == row["set"].split("|")[0] and row["known"] in ("yes", "no") for row in table)
    status, _, _ = tltool("predict", "bundle", "new", "--csv", "same.csv", "--sets")
    assert status == 0
    assert (
        (tmp_path / "same.csv").read_text("utf-8").startswith("path,label,confidence,prob:ant,prob:bee,prob:cat,set,")
    )
    status, out, err = tltool("predict", "bundle", "new", "--csv", "more.csv", "--coverage", "0.99")
    assert (status, out) == (2, "")
    assert "0% take 99 pictures to calibrate on" in err
    assert not (tmp_path / "more.csv").exists()


ODD = ["a\tb.png", ":smile:.png", "[bold]x[/].png", "größe 日本.png"]


def test_odd_names_come_out_as_they_are(tltool, tmp_path):
    for name in ODD:
        make_picture(tmp_path / "new" / name)
    status, out, _ = tltool("predict", finished_run().path, *(Path("new") / name for name in ODD))
    assert status == 0
    assert [line.rsplit("\t", 4)[0] for line in out.splitlines()] == [str(Path("new") / name) for name in ODD]


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names that are not valid UTF-8, which only Linux has")
def test_a_name_that_is_not_utf8(tltool, tmp_path):
    odd = Path("new") / os.fsdecode(b"\xff.png")
    make_picture(tmp_path / "plain.png")
    (tmp_path / "new").mkdir()
    shutil.copy(tmp_path / "plain.png", tmp_path / odd)
    status, out, _ = tltool("predict", finished_run().path, odd)
    assert status == 0
    assert out.startswith("new/\\udcff.png\t")
    status, _, _ = tltool("predict", finished_run().path, odd, "--csv", "results.csv")
    assert status == 0
    assert b"\nnew/\xff.png," in (tmp_path / "results.csv").read_bytes()


def test_runs_are_listed(tltool, tmp_path):
    status, out, err = tltool("runs")
    assert (status, out) == (0, "")
    assert "No runs in runs" in err
    done = create_run(tmp_path / "runs" / "one", "one", "linear-probe", 0)
    done.write_state(state="done", top1=0.75, seconds=3.2)
    create_run(tmp_path / "runs" / "two", "two", "stage-probe", 1)
    status, out, _ = tltool("runs")
    assert status == 0
    assert "75.0%" in out
    listed = strict(tltool("runs", "--json")[1])["runs"]
    assert [(run["folder"], run["state"], run["seed"]) for run in listed] == [
        (str(Path("runs") / "one"), "done", 0),
        (str(Path("runs") / "two"), "queued", 1),
    ]
    assert strict(tltool("runs", "elsewhere", "--json")[1]) == {"runs": []}


def test_recipes_are_listed_shown_copied_and_checked(tltool, tmp_path):
    status, out, err = tltool("recipes", "list")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == list(recipe_files())
    assert all(load_recipe(line.split()[0]).summary in line for line in lines)
    assert tltool("recipes")[1] == out

    status, out, _ = tltool("recipes", "show", "stage-probe")
    assert status == 0
    assert out == recipe_files()["stage-probe"].read_text("utf-8")

    status, out, _ = tltool("recipes", "copy", "stage-probe", "mine.toml")
    assert (status, out) == (0, "mine.toml\n")
    assert (tmp_path / "mine.toml").read_bytes() == recipe_files()["stage-probe"].read_bytes()
    status, out, _ = tltool("recipes", "check", "mine.toml")
    assert (status, out) == (0, "mine.toml: recipe 'stage-probe' is complete and valid.\n")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400), (" 2 m ", 120), ("0.5s", 0.5)]
)
def test_times_are_understood(text: str, seconds: float):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-5", "5d", "1h30m", "inf", "1e3", "ten"])
def test_times_that_are_none(text: str):
    with pytest.raises(TltoolError, match="write a time above 0"):
        parse_time(text)
