"""L-BFGS and Newton-CG on Keras models: the optimum that scikit-learn finds, on either backend and in either precision.

    python -m tests.optimizers.test_full_batch

prints what both reach on the backend of KERAS_BACKEND; a test runs it on JAX.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from tltool.errors import DivergedError, OptimizerError
from tltool.optimizers.full_batch import Evaluations, Minimum, as_start, reason_to_stop
from tltool.optimizers.lbfgs import LBFGS
from tltool.optimizers.newton_cg import NewtonCG

ROOT = Path(__file__).parents[2]
L2 = 0.1
BOTH = pytest.mark.parametrize("optimizer", [LBFGS(), NewtonCG()], ids=["lbfgs", "newton-cg"])


@pytest.fixture(params=["float32", "float64"])
def numbers(request):
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(request.param)
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


def clouds(count=150, width=8, classes=3):
    """Overlapping clouds of points, one a class."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % classes
    return random.normal(size=(classes, width))[labels] + 1.5 * random.normal(size=(count, width)), labels


def linear_head(width, classes, l2=L2):
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(classes, kernel_regularizer=keras.regularizers.L2(l2 / 2))
    model = keras.Sequential([keras.Input((width,)), layer])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def objective(kernel, bias, features, labels, l2):
    logits = features @ np.asarray(kernel, np.float64) + np.asarray(bias, np.float64)
    cross_entropy = -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]
    return cross_entropy.mean() + l2 / 2 * np.sum(np.asarray(kernel, np.float64) ** 2)


def best_loss(features, labels, l2):
    model = LogisticRegression(C=1 / (len(labels) * l2), tol=1e-10, max_iter=20_000).fit(features, labels)
    return objective(model.coef_.T, model.intercept_, features, labels, l2)


@BOTH
def test_a_keras_head_reaches_the_optimum_of_scikit_learn(optimizer, numbers):
    features, labels = clouds()
    model = linear_head(8, 3)
    minimum = optimizer.minimize(model, (features, labels), batch_size=64)
    reached = objective(*model.get_weights(), features, labels, L2)
    assert reached - best_loss(features, labels, L2) == pytest.approx(0, abs=1e-10 if numbers == "float64" else 1e-6)
    assert minimum.loss == pytest.approx(reached, abs=1e-6)
    if numbers == "float64":
        assert minimum.converged
    else:
        assert minimum.converged or "as exact as float32 allows" in minimum.reason


@BOTH
def test_the_model_holds_the_point_and_only_what_is_trainable_moved(optimizer):
    features, labels = clouds(60)
    frozen = keras.layers.Dense(8, activation="tanh", trainable=False)
    norm = keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input((8,)), frozen, norm, keras.layers.Dense(3)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = [np.array(weight) for weight in (*frozen.get_weights(), norm.moving_mean, norm.moving_variance)]
    told = []
    minimum = type(optimizer)(max_iterations=5).minimize(
        model, (features, labels), report=lambda *progress: told.append(progress)
    )
    after = [np.array(weight) for weight in (*frozen.get_weights(), norm.moving_mean, norm.moving_variance)]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    flat = np.concatenate([np.ravel(variable) for variable in model.trainable_variables])
    np.testing.assert_array_equal(flat, minimum.point.astype(np.float32))
    assert model.evaluate(features, labels, verbose=0) == pytest.approx(minimum.loss, abs=1e-5)
    assert told == [("Minimizing", done, 5) for done in range(6)]
    assert minimum.reason == "all 5 iterations were used up"
    assert not minimum.converged


@BOTH
def test_a_network_of_two_layers_fits_what_a_linear_one_cannot(optimizer):
    """Exclusive or: the loss is not convex, and the linear optimum is log 2."""
    corners = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(1, activation="sigmoid")]
    )
    model.compile(loss="binary_crossentropy")
    minimum = optimizer.minimize(model, (corners, np.array([0.0, 1.0, 1.0, 0.0])))
    assert minimum.loss < 0.01
    assert np.round(model.predict(corners, verbose=0)).ravel().tolist() == [0, 1, 1, 0]


@BOTH
def test_a_loss_that_is_no_number_at_the_start_is_an_error_and_moves_nothing(optimizer):
    features, labels = clouds(20)
    features[7, 2] = np.nan
    model = linear_head(8, 3)
    before = model.get_weights()
    with pytest.raises(DivergedError, match=r"loss is not a number at the start.*Look for NaN or infinity in the data"):
        optimizer.minimize(model, (features, labels))
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_lbfgs_leaves_the_last_weights_that_had_a_loss():
    """The data turn to NaN at the fourth evaluation."""
    features, labels = clouds(40)
    passes = []

    def data():
        passes.append(len(passes))
        yield (features if len(passes) < 6 else features * np.nan), labels

    model = linear_head(8, 3)
    start = objective(*model.get_weights(), features, labels, L2)
    with pytest.raises(
        DivergedError, match=r"not a number any more at evaluation 4; the loss before was 0\.\d+.*Scale"
    ):
        LBFGS().minimize(model, data)
    assert len(passes) == 6  # one counts the examples, one gives the first, four evaluate
    assert objective(*model.get_weights(), features, labels, L2) < start


@BOTH
def test_an_interrupted_search_leaves_the_weights_that_it_had_reached(optimizer):
    features, labels = clouds(40)
    model = linear_head(8, 3)
    start = objective(*model.get_weights(), features, labels, L2)

    def report(_task, done, _total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimizer.minimize(model, (features, labels), report=report)
    assert objective(*model.get_weights(), features, labels, L2) < start


@pytest.mark.realdata
def test_real_features_reach_the_optimum_of_scikit_learn():
    from tltool.backbones import load_backbone
    from tltool.data import load_dataset
    from tltool.features.extract import extract

    data = load_dataset(ROOT.parent / "shared" / "data" / "flowers")
    chosen = np.random.default_rng(0).permutation(len(data))[:120]
    table = extract(load_backbone("efficientnet_lite0"), data.root, [data.files[index] for index in chosen])
    labels = np.asarray(data.labels_of(chosen))[table.indices]
    features = table.select(["top"], ["mean"]).astype(np.float64)
    features = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    best = best_loss(features, labels, L2)
    for optimizer in (LBFGS(), NewtonCG()):
        model = linear_head(features.shape[1], len(data.class_names))
        optimizer.minimize(model, (features, labels))
        reached = objective(*model.get_weights(), features, labels, L2)
        assert reached == pytest.approx(best, abs=1e-6), optimizer


def reached_by_both() -> dict[str, float]:
    features, labels = clouds()
    losses = {}
    for optimizer in (LBFGS(), NewtonCG()):
        model = linear_head(8, 3)
        optimizer.minimize(model, (features, labels), batch_size=64)
        losses[type(optimizer).__name__] = objective(*model.get_weights(), features, labels, L2)
    return losses


@pytest.mark.skipif(not find_spec("jax"), reason="needs jax: runs again once it is installed")
def test_the_same_optimum_on_the_jax_backend():
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-W",
            "ignore:__array__:DeprecationWarning",
            "-m",
            "tests.optimizers.test_full_batch",
        ],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("backend") == "jax"
    best = best_loss(*clouds(), L2)
    assert found == {"LBFGS": pytest.approx(best, abs=1e-6), "NewtonCG": pytest.approx(best, abs=1e-6)}


def test_a_minimum_says_in_a_line_what_it_is():
    values = {"point": np.zeros(2), "loss": 0.25, "gradient_norm": 3e-7, "iterations": 12, "evaluations": 14}
    minimum = Minimum(**values, hessian_products=0, converged=True, reason="the gradient is at most 1e-06")
    assert str(minimum) == (
        "loss 0.25 after 12 iterations (14 evaluations), largest partial derivative 3.0e-07: "
        "the gradient is at most 1e-06"
    )
    assert "(14 evaluations and 40 Hessian products)" in str(
        Minimum(**values, hessian_products=40, converged=True, reason="")
    )


@pytest.mark.parametrize(
    ("norm", "iterations", "words"),
    [
        (1e-6, 10, "the gradient is at most 1e-06"),
        (1e-6, 3, "the gradient is at most 1e-06"),
        (1.1e-6, 10, "all 10 iterations were used up"),
        (1.1e-6, 9, "as exact as float32 allows"),
    ],
)
def test_why_a_search_stopped(norm, iterations, words):
    assert words in reason_to_stop(norm, 1e-6, iterations, 10, "float32")


def test_evaluations_are_counted_and_a_gradient_that_is_no_number_is_told_from_such_a_loss():
    evaluations = Evaluations(lambda point: (point.sum(), np.where(point > 2, np.inf, point)))
    assert evaluations(np.ones(2))[0] == 2
    with pytest.raises(
        DivergedError, match=r"gradient is not a number any more at evaluation 2; the loss before was 2\."
    ):
        evaluations(np.full(2, 3.0))
    assert evaluations.count == 2


@pytest.mark.parametrize("start", [np.zeros((2, 2)), np.zeros(0), 1.0])
def test_a_start_that_is_not_flat_is_refused(start):
    with pytest.raises(OptimizerError, match=r"Mine: the start has shape .*give a flat array of at least one number"):
        as_start("Mine", start)


if __name__ == "__main__":
    print(json.dumps({"backend": keras.backend.backend(), **reached_by_both()}))
