"""What a fine-tuned network knows is told by its own features, of pictures that it was not fitted on."""

import numpy as np
import pytest

import tltool as tl
from tests.pictures import make_class_folders
from tests.trained import TINY
from tltool.evaluation.inference import classify
from tltool.evaluation.novelty import Novelty

# A probe that is too weak and a high rate: what fine-tuning gives is kept.
WEAK = (*TINY, "head.strengths=[100.0]", "stages.top.epochs=1", "stages.top.learning_rate=0.004")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tl.Run:
    folder = tmp_path_factory.mktemp("judged")
    data = make_class_folders(folder / "pictures", dict.fromkeys(("ant", "bee"), 84), size=40)
    return tl.fit(data, "finetune-top", out=folder / "run", settings=WEAK)


def features_of(run: tl.Run, part: str) -> np.ndarray:
    rows = run.data.indices(part)
    return classify(run.model, [run.data.paths[row] for row in rows], with_features=True).features


def test_known_is_told_by_the_features_of_the_network_itself(run):
    assert run.tuning.kept
    novelty = run.certainty.novelty
    assert isinstance(novelty, Novelty)
    features = features_of(run, "train")
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    found = novelty.reference.astype(np.float32)
    cosines = found @ (features / lengths).T
    assert len(found) == len(features)
    assert cosines.max(axis=1).min() > 0.999  # the frozen features have another direction


def test_the_share_is_that_of_the_validation_pictures(run):
    passed = run.certainty.novelty.known(features_of(run, "valid")).mean()
    assert 0.94 <= passed <= 1
    assert run.certainty_scores.known == pytest.approx(
        run.certainty.novelty.known(features_of(run, "test")).mean(), abs=0.05
    )
