"""The doctor's whole answer on a data set."""

from dataclasses import dataclass

from tltool.data.dataset import Dataset
from tltool.data.decoding import Framing
from tltool.doctor.checkup import Checkup, check_up
from tltool.doctor.diagnose import diagnose
from tltool.doctor.findings import Finding
from tltool.progress import Report, silent


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What the doctor says.

    Attributes:
        checkup: The pictures that can be read, with what their files hold.
        findings: The grave ones first.
    """

    checkup: Checkup
    findings: tuple[Finding, ...]


def examine_files(data: Dataset, framing: Framing | None = None, report: Report = silent) -> Diagnosis:
    """Looks at the files of a data set, also of one that cannot be trained on. Needs no Keras.

    Args:
        data: As its source was indexed.
        framing: For which pixels are kept on the way; None to keep none.
        report: Told how many files are done.

    Raises:
        DataError: if no file can be read.
    """
    checkup = check_up(data, framing, report, trainable=False)
    return Diagnosis(checkup, diagnose(checkup.data, checkup.scan, checkup.copies))
