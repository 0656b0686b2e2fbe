"""What can be said of a data set without looking through a network: health and size. Needs no Keras."""

from tltool.data import Dataset
from tltool.doctor.checkup import Checkup, check_up
from tltool.doctor.diagnose import diagnose
from tltool.inspection.inspection import Health, Inspection
from tltool.inspection.size import measure_size
from tltool.progress import Report, silent


def inspect_files(data: Dataset, report: Report = silent) -> Inspection:
    """Measures health and size alone; a decision cannot rest on it.

    Args:
        data: As its source was indexed.
        report: Told how many files are done.

    Raises:
        DataError: if too little can be read.
    """
    checkup = check_up(data, report=report)
    return Inspection(
        source=data.source,
        backbone=None,
        size=measure_size(checkup.data),
        similarity=None,
        baselines=(),
        health=health_of(checkup),
    )


def health_of(checkup: Checkup) -> Health:
    """What the doctor says of the files themselves."""
    data = checkup.data
    return Health(len(data), data.problems, data.notes, diagnose(data, checkup.scan, checkup.copies))
