"""The process that looks at a workspace's data set: it lists, measures and decides, and writes what it finds there.

The list of pictures comes first, without Keras, so that the page can show them while the rest is being measured.
"""

import sys
from pathlib import Path

from tltool.data import load_dataset
from tltool.errors import TltoolError
from tltool.files import replacing, write_json
from tltool.startup import load_keras_quietly
from tltool.training.events import EventLog
from tltool.training.job import MESSAGE
from tltool.ui.workspace import Workspace

PREVIEW_ROWS, PREVIEW_DRAWS = 4, 5  # of the grid of augmented pictures: as many as a narrow page shows


def examine(workspace: Workspace) -> None:
    """Writes `data.json`, a grid of augmented pictures, and `inspection.json` with the decision and its table.

    Raises:
        TltoolError: if the data set cannot be used.
    """
    workspace.events_file.unlink(missing_ok=True)
    events = EventLog(workspace.events_file)
    try:
        events.emit("stage", text="Listing the pictures")
        data = load_dataset(workspace.source, report=events.report)
        write_json(workspace.data_file, data.to_json())
        events.emit("stage", text="Starting Keras, which takes some seconds")
        load_keras_quietly()
        from tltool import pipeline
        from tltool.augment.grid import draw_grid
        from tltool.decision import SIMILAR_BELOW, TABLE

        backbone = workspace.settings["backbone"]
        events.emit("stage", text=f"Loading {backbone}")
        facts = pipeline.inspect(data, settings=[f"backbone={backbone}"], report=events.report)
        decision = pipeline.recommend(facts).decision
        table = [[amount, kinship, recipe] for (amount, kinship), recipe in TABLE.items()]
        read = {"decision": decision.to_json(), "table": table, "similar_below": SIMILAR_BELOW}
        tried = set(data.files)
        unreadable = [problem for problem in facts.health.problems if problem.path in tried]
        seen = data.without(unreadable)
        events.emit("stage", text="Drawing what augmentation does")
        size = {"rows": PREVIEW_ROWS, "draws": PREVIEW_DRAWS}
        shown = pipeline.preview(seen, policy=decision.augmentation, settings=[f"backbone={backbone}"], **size)
        with replacing(workspace.augmentation_file) as temporary:
            draw_grid(shown.grid).save(temporary)
        write_json(workspace.data_file, seen.to_json())
        write_json(workspace.facts_file, facts.to_json() | read)
    finally:
        events.close()


def main() -> None:
    """Examines the workspace named in the first argument; fails as the command line does."""
    try:
        examine(Workspace(Path(sys.argv[1])))
    except TltoolError as error:
        print(f"{MESSAGE}{error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{MESSAGE}stopped.", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
