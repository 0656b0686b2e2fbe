"""Claim: what the doctor says of public sets is true of them.

Prints for each set what each finding names, and the extremes that the doctor's thresholds are set beyond: the flattest
and the darkest picture, and the longest. Looking at the files decides whether an alarm is false.

    python benchmarks/doctor.py [FOLDER]
"""

import numpy as np
from contest import image_sets, print_setting

from tltool.data import load_dataset
from tltool.doctor.diagnosis import examine_files
from tltool.doctor.pictures import DARK_DEVIATIONS


def main() -> None:
    print_setting()
    for folder in sorted(path for path in image_sets().iterdir() if (path / "train").is_dir()):
        diagnosis = examine_files(load_dataset(folder))
        scan = diagnosis.checkup.scan
        sides = np.sort(np.stack([scan.width, scan.height]), axis=0)
        level = scan.brightness + DARK_DEVIATIONS * scan.contrast
        print(
            f"{folder.name}: {len(scan.files):,} pictures; least contrast {scan.contrast.min():.1f}, darkest "
            f"{level.min():.0f}, longest {np.max(sides[1] / sides[0]):.1f}, shortest side {sides[0].min()} pixels"
        )
        for finding in diagnosis.findings:
            print(f"    {finding.severity} {finding.kind}: {finding.message}")
            for line in finding.lines():
                print(f"        {line}")


if __name__ == "__main__":
    main()
