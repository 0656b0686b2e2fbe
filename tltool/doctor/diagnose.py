"""Everything that can be said of a data set from one look at its files, before any network has seen it."""

import numpy as np

from tltool.data.copies import Copies
from tltool.data.dataset import Dataset
from tltool.data.scan import Scan
from tltool.doctor.classes import check_classes
from tltool.doctor.files import check_files
from tltool.doctor.findings import Finding, by_severity
from tltool.doctor.pictures import check_pictures
from tltool.doctor.repeats import LEAK, check_repeats


def diagnose(data: Dataset, scan: Scan, copies: Copies) -> tuple[Finding, ...]:
    """Puts together what is wrong with a data set.

    Args:
        data: The data set; files that cannot be read may still be in it, or be among its problems already.
        scan: Row i is picture i of it.
        copies: Found among the scan's rows.

    Returns:
        Findings, errors first; one a kind, and one more where a kind is the nature of some classes.

    Raises:
        ValueError: if the scan is of other files.
    """
    if scan.files != data.files:
        raise ValueError(f"diagnose: the scan is of {len(scan.files)} files, not the {len(data)} of the data set.")
    readable = np.flatnonzero([key is not None for key in scan.keys])
    problems = [problem for problem in (*data.problems, *scan.problems) if problem.kind != LEAK]
    return by_severity(
        (
            *check_files(problems, scan),
            *check_repeats(data, scan, copies),
            *check_classes(data, readable),
            *check_pictures(data, scan, readable),
        )
    )
