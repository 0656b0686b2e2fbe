"""Scores and findings as the page draws them, from a run's own files."""

from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from tests.pictures import make_class_folders
from tltool.data import Dataset, load_dataset
from tltool.evaluation.metrics import score
from tltool.evaluation.multi_label import score_multi_label
from tltool.ui.gallery import pick
from tltool.ui.scores import headline, mistakes_in_words, score_in_words

PATIENCE = 60  # seconds; the first page imports all that it draws with
ABOUT = {"recipe": "linear-probe", "seconds": 8.0, "leaked": 0}


def single(wrong: int = 2) -> dict:
    labels = np.repeat([0, 1], 10)
    prob = np.eye(2)[labels]
    prob[:wrong] = prob[:wrong, ::-1]
    return score(prob, labels, ("ant", "*bee*")).to_json() | ABOUT


def several() -> dict:
    targets = np.array([[1, 0], [1, 1], [0, 1], [1, 0]])
    prob = np.array([[0.9, 0.2], [0.8, 0.3], [0.1, 0.7], [0.6, 0.4]])
    return score_multi_label(prob, targets, ("sea", "never*"), 0.35).to_json() | ABOUT


def drawn(metrics: dict) -> AppTest:
    def script(metrics):
        from tltool.ui.scores import show_scores

        show_scores(metrics)

    page = AppTest.from_function(script, args=(metrics,), default_timeout=PATIENCE).run()
    assert not page.exception
    return page


def test_one_label_is_told_in_counts_and_mistakes():
    metrics = single()
    assert headline(metrics) == "90.0%"
    assert "**18 of 20** pictures correctly" in score_in_words(metrics)
    assert mistakes_in_words(metrics) == ["“ant” was taken for “\\*bee\\*” 2 times"]
    page = drawn(metrics)
    assert next(metric.label for metric in page.metric) == "Correct"
    assert not page.warning


def test_several_labels_have_no_confusion_but_scores_by_class():
    metrics = several()
    assert headline(metrics) == f"mean average precision {metrics['mean_average_precision']:.1%}"
    page = drawn(metrics)
    assert "**4 pictures**" in page.markdown[0].value
    assert {metric.label for metric in page.metric} == {"Average precision", "F1", "F1 by class", "Calibration error"}
    (table,) = page.dataframe
    assert list(table.value["class"]) == ["sea", "never*"]
    assert list(table.value["pictures"]) == [3, 2]


@pytest.mark.parametrize("make", [single, several])
def test_leaks_are_told_with_the_score_to_trust(make):
    metrics = make() | {"leaked": 3, "without_leaks": single(5)}
    (warning,) = drawn(metrics).warning
    assert "3 of the held-out pictures are copies" in warning.value
    assert "75.0%, on 20 pictures: that is the one to trust" in warning.value


def test_a_score_on_nothing_but_leaks_is_no_score():
    (error,) = drawn(single() | {"leaked": 20}).error
    assert "All held-out pictures are copies" in error.value


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Dataset:
    return load_dataset(make_class_folders(tmp_path_factory.mktemp("photos") / "insects", {"ant": 8, "bee": 8}))


def findings_page(data: Dataset, findings: list[dict]) -> AppTest:
    def script(data, findings):
        from tltool.ui.findings import show_findings

        show_findings(data, findings)

    page = AppTest.from_function(script, args=(data, findings), default_timeout=PATIENCE).run()
    assert not page.exception
    return page


def test_no_finding_is_said_to_be_none(data):
    assert "found nothing wrong" in findings_page(data, []).caption[0].value


def test_findings_are_shown_with_what_to_do(data):
    finding = {
        "severity": "error",
        "message": "2 files are *copies*.",
        "fix": "Remove [one].",
        "files": [data.files[0], "gone.png"],
        "details": ["copy of b", ""],
    }
    page = findings_page(data, [finding, finding | {"severity": "note", "files": [], "details": []}])
    assert [expander.label for expander in page.expander] == [":red-badge[The doctor: 2 findings]"]
    assert page.markdown[0].value == ":red-badge[error] 2 files are \\*copies\\*."
    assert page.caption[0].value == "Remove \\[one\\]."


def test_a_picture_of_two_classes_is_shown_under_both(tmp_path: Path):
    folder = make_class_folders(tmp_path, {"a": 6})
    rows = "\n".join(f"a/a_{i:04}.png,{'sea|sky' if i % 2 else 'sea'}" for i in range(6))
    (tmp_path / "labels.csv").write_text(f"path,label\n{rows}\n", "utf-8")
    picked = pick(load_dataset(folder / "labels.csv"))
    assert {name: len(rows) for name, rows in picked.items()} == {"sea": 5, "sky": 3}
