"""What happens in a run, for TensorBoard."""

import logging
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event as Record
from tensorboardX.proto.event_pb2 import SessionLog
from tensorboardX.summary import scalar, text

from tltool.training.epoch_steps import EpochSteps, scores_of
from tltool.training.events import Event
from tltool.training.run_folder import RunFolder

log = logging.getLogger(__name__)


class TensorBoardLog:
    """A listener that writes scores of epochs, and decisions and notes as text, into event files.

    The first fault is logged and ends the writing, not the run.

    Args:
        folder: Made when there is something to write; that of a run, whose `events.jsonl` lies beside it.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._steps = EpochSteps(RunFolder(folder.parent))
        self._told_before = self._steps.last
        self._file: EventsWriter | None = None
        self._failed = False

    def __call__(self, event: Event) -> None:
        if self._failed:
            return
        try:
            self._write(event)
        except Exception as error:  # whatever it is, pictures of the training are not worth the training
            log.warning("%s: nothing more is written for TensorBoard (%s).", self._folder, error)
            self._failed = True

    def _write(self, event: Event) -> None:
        if event["event"] == "epoch":
            step = self._steps.step_of(event)
            if step <= self._told_before:
                # What a killed run told of epochs that are trained again: without this they show twice.
                self._add(step, event["time"], session_log=SessionLog(status=SessionLog.START))
                self._told_before = 0
            for name, value in scores_of(event).items():
                self._add(step, event["time"], summary=scalar(f"{name}/{event['stage']}", value))
        elif event["event"] == "note":
            self._add(self._steps.last, event["time"], summary=text("note", event["text"]))
        elif event["event"] == "decision":
            words = "\n\n".join([f"{event['cell']}: {event['used']}", *event["reasons"]])
            self._add(self._steps.last, event["time"], summary=text("decision", words))
        elif event["event"] == "end" and self._file is not None:
            self._file.close()
            self._file = None

    def _add(self, step: int, seconds: float, **what: Any) -> None:
        if self._file is None:
            self._folder.mkdir(exist_ok=True)
            # The file's own time is in whole seconds: a run resumed at once would overwrite what it wrote before.
            number = len(list(self._folder.iterdir()))
            self._file = EventsWriter(str(self._folder / "events"), f".{number}")
        self._file.write_event(Record(step=step, wall_time=seconds, **what))
        self._file.flush()
