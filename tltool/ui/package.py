"""The model as one file to download."""

import tempfile
import zipfile
from pathlib import Path

from tltool.export.bundle import export_run
from tltool.training.run_folder import RunFolder


def zip_bundle(run: RunFolder, folder: Path) -> Path:
    """Packs a finished run's model and its class names, once.

    Args:
        run: A finished run.
        folder: Gets `NAME.zip`, in which the bundle is the folder NAME.

    Raises:
        TltoolError: if the run has no model, or nothing can be written.
    """
    target = folder / f"{run.path.name}.zip"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".packing-", dir=folder) as working:
        bundle = export_run(run, Path(working) / run.path.name, ["keras"])
        packed = Path(working) / target.name
        with zipfile.ZipFile(packed, "x") as archive:  # stored: a .keras file is a packed .zip itself
            for file in sorted(bundle.folder.rglob("*")):
                archive.write(file, file.relative_to(working))
        packed.replace(target)  # another tab's is the same
    return target
