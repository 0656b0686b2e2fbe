"""Paths of the real optimizers against the textbook's steps in float64, and what each path is there to show."""

import keras
import numpy as np
import pytest

from tltool.errors import OptimizerError
from tltool.optimizers.catalogue import OPTIMIZERS, get
from tltool.optimizers.lbfgs import LBFGS
from tltool.optimizers.surface_rates import ADADELTA_RATE, RATES, default_rate
from tltool.optimizers.surfaces import SURFACES, Surface
from tltool.optimizers.trajectories import FAR, race, trajectory

BOWL = SURFACES["bowl"]
FULL_BATCH = [name for name, entry in OPTIMIZERS.items() if entry.full_batch]


def sgd(x, slope, rate):
    while True:
        yield x
        x = x - rate * slope(x)


def momentum(x, slope, rate, share=0.9):
    v = np.zeros(2)
    while True:
        yield x
        v = share * v - rate * slope(x)
        x = x + v


def nesterov(x, slope, rate, share=0.9):
    v = np.zeros(2)
    while True:
        yield x
        v = share * v - rate * slope(x + share * v)
        x = x + v


def adam(x, slope, rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    m, s, t = np.zeros(2), np.zeros(2), 0
    while True:
        yield x
        t += 1
        g = slope(x)
        m = beta_1 * m + (1 - beta_1) * g
        s = beta_2 * s + (1 - beta_2) * g**2
        x = x - rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (np.sqrt(s) + epsilon)


def textbook(rule, rate, steps, noise=0.0, seed=0):
    """The rule's path over the bowl, shape (steps + 1, 2)."""
    random = np.random.default_rng(seed)

    def slope(x):
        return np.array([1.0, 50.0]) * x + noise * random.standard_normal(2)

    return np.array([x for x, _ in zip(rule(np.array(BOWL.start), slope, rate), range(steps + 1), strict=False)])


@pytest.mark.parametrize("rule", [sgd, momentum, nesterov, adam], ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_paths_are_the_textbooks(rule, noise):
    path = trajectory(rule.__name__, "bowl", steps=50, noise=noise, seed=3)
    expected = textbook(rule, default_rate(rule.__name__, "bowl"), 50, noise, seed=3)
    # Of paths 4 long: in float32 Adam's 1 - 0.999^t loses four of its seven digits at the first steps.
    assert path.points == pytest.approx(expected, rel=1e-5, abs=5e-5)
    assert path.losses == pytest.approx(0.5 * (path.points[:, 0] ** 2 + 50 * path.points[:, 1] ** 2))
    assert path.learning_rate == default_rate(rule.__name__, "bowl")
    assert path.diverged_at is None


def test_noise_repeats_with_its_seed():
    first, again, other = (trajectory("sgd", "bowl", steps=20, noise=1.0, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.points, again.points)
    assert not np.array_equal(first.points, other.points)


def test_a_start_of_ones_own():
    path = trajectory("sgd", "bowl", start=(2, -1), steps=3)
    assert path.points[0].tolist() == [2, -1]
    assert path.points[1] == pytest.approx([2 - 0.036 * 2, -1 + 0.036 * 50])


def test_a_path_that_diverges_ends_where_it_leaves():
    path = trajectory(get("sgd", learning_rate=1.0), "bowl", steps=30)
    expected = textbook(sgd, 1.0, 30)
    left = int(np.argmax(np.abs(expected).max(axis=1) > FAR))
    assert path.diverged_at == left == 4
    assert path.points[:left] == pytest.approx(expected[:left], rel=1e-5)
    assert np.isnan(path.points[left:]).all()
    assert np.isnan(path.losses[left:]).all()
    assert len(path.points) == len(path.losses) == 31
    values = path.to_json()
    assert values["diverged_at"] == 4
    assert values["points"][4:] == [[None, None]] * 27
    assert values["losses"][4] is None
    assert values["losses"][0] == pytest.approx(72)


def test_a_gradient_that_is_not_a_number_ends_the_path():
    cliff = Surface(
        name="cliff",
        summary="Ends at 1.",
        loss=lambda points: np.asarray(points)[..., 0],
        gradient=lambda point: np.array([-1.0, 0.0]) if point[0] < 1 else np.full(2, np.nan),
        hessian=lambda point: np.zeros((2, 2)),
        start=(0.0, 0.0),
        minimum=None,
        limits=(-1.0, 2.0, -1.0, 1.0),
    )
    path = trajectory(keras.optimizers.SGD(0.5), cliff, steps=6)
    assert path.diverged_at == 3
    assert path.points[:3, 0].tolist() == [0, 0.5, 1]


def test_the_callers_optimizer_stays_as_it_is():
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.5), name="mine")
    weights = keras.Variable([1.0, 2.0])
    for _ in range(3):
        optimizer.apply([keras.ops.ones(2)], [weights])
    before = [keras.ops.convert_to_numpy(variable) for variable in optimizer.variables]
    paths = [trajectory(optimizer, "beale", steps=10) for _ in range(2)]
    after = [keras.ops.convert_to_numpy(variable) for variable in optimizer.variables]
    assert all(np.array_equal(*pair) for pair in zip(before, after, strict=True))
    assert int(optimizer.iterations) == 3
    assert np.array_equal(paths[0].points, paths[1].points)
    assert (paths[0].name, paths[0].learning_rate) == ("mine", 0.5)
    step = np.abs(paths[0].points[1] - paths[0].points[0])
    assert step == pytest.approx([0.5, 0.5], rel=1e-5)  # Adam's first step is its rate: the schedule began anew


def test_final_weights_are_recorded_not_those_of_training():
    """The average's path lags behind the weights that the gradients are taken at."""
    optimizer = keras.optimizers.SGD(0.01, use_ema=True, ema_momentum=0.5)
    path = trajectory(optimizer, "bowl", steps=20)
    raw = textbook(sgd, 0.01, 20)
    average, expected = raw[0], [raw[0]]
    for index, x in enumerate(raw[1:]):
        average = x if index == 0 else 0.5 * average + 0.5 * x
        expected.append(average)
    assert path.points == pytest.approx(np.array(expected), rel=1e-5)


@pytest.mark.parametrize("name", FULL_BATCH)
@pytest.mark.parametrize("surface", ["bowl", "rosenbrock", "beale", "ravine", "saddle"])
def test_full_batch_methods_arrive_and_stay(name, surface):
    path = trajectory(name, surface, steps=60)
    assert path.points.shape == (61, 2)
    assert tuple(path.points[0]) == SURFACES[surface].start
    assert path.points[-1] == pytest.approx(np.array(SURFACES[surface].minimum), abs=1e-5)
    assert (path.points[-5:] == path.points[-1]).all()
    assert (path.learning_rate, path.diverged_at) == (None, None)
    assert path.losses[1] < path.losses[0]


def test_a_full_batch_method_takes_the_steps_it_is_given():
    whole, short = trajectory("lbfgs", "rosenbrock", steps=60), trajectory(LBFGS(), "rosenbrock", steps=5)
    assert np.array_equal(short.points, whole.points[:6])
    assert short.name == "LBFGS"


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in FULL_BATCH])
def test_every_name_gets_somewhere_at_its_rate(name):
    path = trajectory(name, "ravine")
    assert path.diverged_at is None
    assert path.losses[-1] < 0.3 * path.losses[0]


def test_rates_name_every_surface_and_family():
    assert list(RATES) == list(SURFACES)
    assert {tuple(rates) for rates in RATES.values()} == {("sgd", "momentum", "adagrad", "adam", "rmsprop")}
    assert default_rate("nesterov", "beale") == default_rate("momentum", "beale") == RATES["beale"]["momentum"]
    assert default_rate("AdamW", "saddle") == RATES["saddle"]["adam"]
    assert default_rate("adadelta", "saddle") == ADADELTA_RATE


def test_sgd_diverges_from_just_above_its_rate():
    """0.036 is 0.9 of it on bowl and ravine."""
    for surface in ("bowl", "ravine"):
        below, above = (trajectory(get("sgd", learning_rate=rate), surface).losses for rate in (0.0395, 0.0405))
        assert below[-1] < below[0]
        assert above[-1] > above[0] or not np.isfinite(above[-1])


# What the pictures are there to show.


def test_sgd_zig_zags_momentum_overshoots_and_nesterov_damps():
    plain, heavy, damped = (path.points for path in race(["sgd", "momentum", "nesterov"], "bowl", steps=80))
    assert (np.sign(plain[:20, 1]) == (-1.0) ** np.arange(20)).all()
    assert plain[:, 0].max() < 0 < heavy[:, 0].max()
    swings = [np.abs(points[10:, 1]).max() for points in (heavy, damped)]
    assert swings[1] < 0.2 * swings[0]


def test_per_weight_steps_take_no_notice_of_the_scale():
    (path,) = race(["adam"], "bowl", steps=1)
    step = np.abs(path.points[1] - path.points[0])
    assert step[0] == pytest.approx(step[1], rel=1e-4)


def test_momentum_leaves_the_well_in_which_sgd_stays():
    plain, heavy = race(["sgd", "momentum"], "local-minimum")
    assert plain.points[-1][0] > 0.5
    assert heavy.points[-1] == pytest.approx(np.array(SURFACES["local-minimum"].minimum), abs=0.05)


def test_adagrads_step_dies_out_and_its_variants_do_not():
    names = ["adagrad", "decayed-adagrad", "adagrad-with-warm-restart"]
    dying, decayed, restarted = race(names, "ravine", steps=600)
    steps = [np.linalg.norm(np.diff(path.points[300:400], axis=0), axis=1).mean() for path in (dying, decayed)]
    assert steps[1] > 2 * steps[0]
    assert dying.losses[-1] > 1 > 0.01 > max(decayed.losses[-1], restarted.losses[-1])


def test_sgd_lingers_at_the_saddle():
    (path,) = race(["sgd"], "saddle", steps=120)
    near = np.linalg.norm(path.points, axis=1) < 0.1
    assert near.sum() > 20
    assert path.points[-1] == pytest.approx([0, 1], abs=1e-2)


def test_a_race_takes_rates_and_tells_how_far_it_is():
    told = []
    paths = race(
        ["SGD", "adagrad_norm"], "bowl", {"sgd": 0.01}, steps=5, report=lambda *progress: told.append(progress)
    )
    assert [(path.name, path.learning_rate) for path in paths] == [("sgd", 0.01), ("adagrad-norm", 0.5)]
    assert paths[0].points == pytest.approx(textbook(sgd, 0.01, 5), rel=1e-5)
    assert told == [("Optimizers", 1, 2), ("Optimizers", 2, 2)]


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ({"surface": "bowel"}, "Did you mean `bowl`?"),
        ({"steps": 0}, "`steps` = 0: must be a whole number, 1 or above."),
        ({"steps": 2.5}, "`steps` = 2.5"),
        ({"noise": -1}, "`noise` = -1: must be a number, 0 or above."),
        ({"noise": float("nan")}, "`noise` = nan"),
        ({"seed": -1}, "`seed` = -1"),
        ({"start": (1, 2, 3)}, "must be two numbers, such as (-4.0, 1.6)"),
        ({"start": (1, float("nan"))}, "must be two numbers"),
        ({"start": "here"}, "must be two numbers"),
        ({"names": []}, "name at least one optimizer, each once"),
        ({"names": ["sgd", "SGD"]}, "name at least one optimizer, each once"),
        ({"names": ["sdg"]}, "Did you mean `sgd`?"),
        ({"rates": {"adam": 0.1}}, "A rate for adam: it is not in the race."),
        ({"rates": {"sgd": 0}}, "sgd: `learning_rate` = 0: must be a number above 0"),
        ({"names": ["lbfgs"], "rates": {"lbfgs": 0.1}}, "A rate for lbfgs: it searches for its own."),
        ({"names": ["lbfgs"], "noise": 0.1}, "lbfgs: a full-batch method needs the exact slope."),
    ],
)
def test_mistakes_are_named(arguments, fragment):
    with pytest.raises(OptimizerError) as caught:
        race(**{"names": ["sgd"], "surface": "bowl", **arguments})
    assert fragment in str(caught.value)
    if "names" not in arguments and "rates" not in arguments:
        with pytest.raises(OptimizerError):
            trajectory("sgd", **{"surface": "bowl", **arguments})


def test_noise_for_a_full_batch_instance():
    with pytest.raises(OptimizerError, match="LBFGS: a full-batch method needs the exact slope"):
        trajectory(LBFGS(), "bowl", noise=0.5)


def test_what_is_no_optimizer():
    with pytest.raises(OptimizerError, match=r"3 is no optimizer\. Give one, or one of sgd, momentum"):
        trajectory(3, "bowl")
