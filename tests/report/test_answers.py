"""What the model says of held-out pictures: the same from kept features and by looking again."""

import shutil

import numpy as np

import tltool as tl
from tests.report.reported import copied_run, several_run
from tests.trained import finished_run
from tltool.evaluation.evaluate import score_any
from tltool.evaluation.inference import classify
from tltool.evaluation.predictions import PREDICTIONS_FILE, Predictions, write_predictions
from tltool.files import write_json
from tltool.report import answers
from tltool.report.answers import answers_of
from tltool.run import open_run


def check(run: tl.Run) -> None:
    found, data = answers_of(run), run.data
    assert found.rows.tolist() == data.indices("test").tolist()
    assert found.missing == 0
    expected = classify(run.model, [data.paths[row] for row in found.rows]).values
    np.testing.assert_allclose(found.prob, expected, atol=2e-3)
    scored = score_any(found.prob, found.labels, run.class_names, run.labels.threshold)
    assert abs(scored.log_loss - run.metrics.log_loss) < 1e-2
    assert set(found.known.tolist()) <= set(data.indices("train", "valid").tolist())
    assert len(found.features) == len(found.rows)
    assert found.features.shape[1] == found.known_features.shape[1]


def test_a_probe_is_asked_by_its_features(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("a probe need not look at pictures again")

    run = finished_run()
    monkeypatch.setattr(answers, "look", fail)
    check(run)
    assert not answers_of(run).pretrained


def test_a_fine_tuned_network_looks_again(tmp_path):
    shutil.copytree(several_run().path, tmp_path / "run")
    (tmp_path / "run" / PREDICTIONS_FILE).unlink()  # as in runs of earlier versions
    run = open_run(tmp_path / "run")
    check(run)
    assert answers_of(run).pretrained


def test_answers_that_the_run_has_kept(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("what is written down need not be asked")

    run = several_run()
    (tmp_path / "bare").mkdir()
    shutil.copytree(run.path, tmp_path / "bare", dirs_exist_ok=True)
    (tmp_path / "bare" / PREDICTIONS_FILE).unlink()
    asked = answers_of(open_run(tmp_path / "bare"))
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    write_predictions(copy / PREDICTIONS_FILE, Predictions(asked.rows, asked.prob))
    with monkeypatch.context() as patch:
        patch.setattr(answers, "look", fail)
        np.testing.assert_allclose(answers_of(open_run(copy)).prob, asked.prob, atol=1e-6)
    write_predictions(
        copy / PREDICTIONS_FILE, Predictions(asked.rows, 1 - asked.prob)
    )  # not what the run was scored by
    np.testing.assert_allclose(answers_of(open_run(copy)).prob, asked.prob, atol=1e-6)


def test_a_model_of_which_no_recipe_is_kept(tmp_path):
    run = copied_run(tmp_path / "run")
    run.folder.recipe.unlink()
    check(run)


def test_a_head_on_kept_features_is_believed_only_where_it_was_scored_so(tmp_path):
    """As where a network was fine-tuned, and the recipe does not tell."""
    run = copied_run(tmp_path / "run")
    logits = run.model.get_layer("logits")
    logits.set_weights([np.zeros_like(weight) for weight in logits.get_weights()])
    run.model.save(run.folder.model)
    (run.path / PREDICTIONS_FILE).unlink()
    spoilt = open_run(run.path)
    np.testing.assert_allclose(answers_of(spoilt).prob, 1 / 3, atol=1e-5)  # the model's own word


def test_nothing_can_be_read(tmp_path):
    run = copied_run(tmp_path / "run")
    write_json(run.folder.data, run.data.to_json() | {"root": str(tmp_path / "gone")})
    assert answers_of(open_run(run.path)) is None
