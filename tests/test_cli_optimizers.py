"""`tltool optimizers`: what it lists, shows, races and draws, and what mistakes are answered with."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from PIL import Image

from tltool.cli_optimizers import RACE, SURFACE, optimizers
from tltool.errors import TltoolError
from tltool.optimizers.catalogue import COMMON, OPTIMIZERS
from tltool.optimizers.surface_rates import default_rate
from tltool.optimizers.surfaces import SURFACES


@pytest.fixture
def command(monkeypatch, capfd, tmp_path) -> Callable[..., tuple[str, str]]:
    """Runs it in `tmp_path`; returns standard output and standard error."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(optimizers)

    def run(*arguments: object) -> tuple[str, str]:
        monkeypatch.chdir(tmp_path)
        capfd.readouterr()
        app([str(argument) for argument in arguments], standalone_mode=False)
        return capfd.readouterr()

    return run


def strict(text: str) -> dict:
    """Standard output that must be one JSON object and nothing else."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_it_lists_every_name(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    out, err = command()
    for name, entry in OPTIMIZERS.items():
        (line,) = [line for line in out.splitlines() if line.startswith(f"│ {name} ")]
        assert entry.summary in line
        assert entry.use in line
    assert "tltool optimizers NAME" in err
    listed = strict(command("--json")[0])["optimizers"]
    assert [row["name"] for row in listed] == list(OPTIMIZERS)
    assert {row["name"] for row in listed if row["full_batch"]} == {"lbfgs", "newton-cg"}


def test_help_names_every_surface_and_ending(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    out, _ = command("--help")
    assert all(word in out for word in (*SURFACES, ".png", ".gif", ".html", f"[default: ({','.join(RACE)})]"))


def test_listing_loads_nothing_heavy():
    code = (
        "import sys\nfrom tltool.cli_optimizers import optimizers\noptimizers(as_json=True)\n"
        "heavy = ('keras', 'tensorflow', 'matplotlib', 'plotly', 'sklearn')\n"
        "print('loaded:', *[name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.splitlines()[-1] == "loaded:"
    assert len(strict(done.stdout)["optimizers"]) == len(OPTIMIZERS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_arguments_have_a_default_that_keeps_their_rule(command, name):
    shown = strict(command(name, "--json")[0])
    entry = OPTIMIZERS[name]
    rules = entry.rules if entry.full_batch else {**entry.rules, **COMMON}
    arguments = {argument["name"]: argument for argument in shown["arguments"]}
    assert list(arguments) == [*(() if entry.full_batch else ("learning_rate",)), *rules]
    for argument, rule in rules.items():
        assert arguments[argument]["rule"] == rule.words
        assert rule.holds(arguments[argument]["default"]), argument
    assert entry.full_batch or arguments["learning_rate"]["default"] > 0


def test_one_is_shown_with_its_own_defaults(command):
    out, _ = command("Momentum")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    assert ["momentum", "0.9", "a number in [0, 1)"] in rows
    assert ["learning_rate", "0.01", "a number above 0, or a schedule"] in rows
    assert ["weight_decay", "None", "a number, 0 or above, or None"] in rows
    assert OPTIMIZERS["momentum"].use in out


def test_a_race_is_told_as_json(command):
    out, _ = command("--race", "sgd,adam", "--race", "lbfgs", "--steps", 4, "--rate", "sgd=0.01", "--json")
    told = strict(out)
    assert [told[key] for key in ("surface", "steps", "noise", "seed", "plot")] == [SURFACE, 4, 0, 0, None]
    assert [(path["name"], path["learning_rate"]) for path in told["paths"]] == [
        *(("sgd", 0.01), ("adam", default_rate("adam", SURFACE)), ("lbfgs", None))
    ]
    for path in told["paths"]:
        assert path["points"][0] == list(SURFACES[SURFACE].start)
        assert len(path["points"]) == len(path["losses"]) == 5
    assert told["paths"][0]["points"][1] == pytest.approx([-4 + 0.01 * 4, 1.6 - 0.01 * 50 * 1.6])


def test_noise_and_seed_reach_the_race(command):
    told = [
        strict(command("sgd", "--steps", 3, "--noise", 1, "--seed", seed, "--json")[0])["paths"][0]["points"]
        for seed in (1, 1, 2)
    ]
    assert told[0] == told[1] != told[2]


def test_a_path_that_diverges_is_valid_json_and_a_clear_row(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    told = strict(command("sgd", "--rate", "sgd=1", "--json")[0])["paths"][0]
    assert told["diverged_at"] == 4
    assert told["losses"][-1] is None
    out, _ = command("sgd", "--rate", "sgd=1")
    assert "diverged at step 4: lower its rate" in out


@pytest.mark.parametrize("ending", ["png", "gif", "html"])
def test_it_draws_the_default_race(command, tmp_path, ending):
    out, err = command("--plot", f"race.{ending}", "--steps", 10)
    assert f"Picture: race.{ending}" in err
    rows = [line.split("│")[1].strip() for line in out.splitlines() if line.startswith("│")]
    assert rows == list(RACE)
    file = tmp_path / f"race.{ending}"
    if ending == "html":
        assert "sgd, rate 0.036" in file.read_text("utf-8")
    else:
        with Image.open(file) as picture:
            assert (picture.format.lower(), getattr(picture, "n_frames", 1)) == (ending, 11 if ending == "gif" else 1)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_muon_is_said_to_be_adamw_here(command):
    out, err = command("--race", "muon,adamw", "--steps", 3, "--json")
    assert "muon: needs a matrix" in err
    muon, adamw = strict(out)["paths"]
    assert muon["points"] == adamw["points"]


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["adan"], "No optimizer is called 'adan'. Did you mean `adam`?"),
        (["--race", "sgd,adan"], "Did you mean `adam`?"),
        (["--race", ","], "name at least one optimizer"),
        (["adam", "--race", "sgd"], "'adam' stands beside --race"),
        (["--surface", "bowel"], "Did you mean `bowl`?"),
        (["--steps", "0"], "`steps` = 0: must be a whole number, 1 or above"),
        (["--noise", "-1"], "`noise` = -1.0: must be a number, 0 or above"),
        (["--noise", "nan"], "`noise` = nan"),
        (["--rate", "sgd=0"], "sgd: `learning_rate` = 0.0: must be a number above 0"),
        (["--rate", "sgd=fast"], "--rate sgd=fast: write NAME=VALUE, such as sgd=0.01."),
        (["--rate", "lion=1"], "A rate for lion: it is not in the race."),
        (["--plot", "race.jpg"], "race.jpg: a race is drawn to a file that ends in .png, .gif, .html."),
        (["--plot", "mine.png"], "mine.png: exists already and is not overwritten."),
        (["--race", "lbfgs", "--noise", "1"], "lbfgs: a full-batch method needs the exact slope."),
    ],
)
def test_mistakes_are_named_before_anything_is_done(command, capfd, tmp_path, arguments, fragment):
    (tmp_path / "mine.png").write_text("years of work")
    with pytest.raises(TltoolError) as caught:
        command(*arguments)
    assert fragment in str(caught.value)
    assert "Traceback" not in str(caught.value)
    out, err = capfd.readouterr()
    assert out == ""
    assert "Starting Keras" not in err
    assert [path.read_text() for path in Path(tmp_path).iterdir()] == ["years of work"]
