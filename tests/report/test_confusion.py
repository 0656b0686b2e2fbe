import numpy as np

from tests.page import Page
from tests.report.scored import made
from tltool.report.confusion import confusion_section


def test_the_confusion_matrix():
    metrics = made()
    page = Page(confusion_section(metrics))
    cells = [cell for cell in page.named("td") if "style" in cell]
    assert len(cells) == 9
    shares = [float(cell["style"].removeprefix("--share:").removesuffix("%")) for cell in cells]
    expected = [100 * np.sqrt(n / 30) for line in metrics.confusion for n in line]
    np.testing.assert_allclose(shares, expected, atol=0.51)
    matrix = np.array(metrics.confusion)
    np.fill_diagonal(matrix, 0)
    assert f" {matrix.max()} of 30" in page.text
    assert len(page.named("li")) == min(6, np.count_nonzero(matrix))


def test_very_many_classes_have_no_matrix():
    assert confusion_section(made(40, 400)) is None
