import dataclasses

import numpy as np
import pytest

from tests.page import Page
from tests.report.scored import made
from tltool.report.classes import classes_section


def test_very_many_classes():
    assert len(Page(classes_section(made(40, 400))).named("tr")) == 41


def test_classes_are_in_the_order_of_recall():
    metrics = made()
    page = Page(classes_section(metrics))
    order = [line for line in page.text.splitlines() if line.startswith("class ")]
    assert order == [f"class {i}" for i in np.argsort(metrics.recall, kind="stable")]


@pytest.mark.parametrize("recall", [(None, 0.5, 0.9), (None, None, None)])
def test_classes_that_do_not_occur(recall):
    metrics = dataclasses.replace(made(), recall=recall, recall_interval=(None, None, None))
    assert "class 0" in Page(classes_section(metrics)).text
