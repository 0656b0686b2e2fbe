"""What happens in a run, one JSON object a line, for whoever watches: the command line, the app, a later reader."""

import json
import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

Event = dict[str, Any]
Listener = Callable[[Event], None]

PROGRESS_INTERVAL = 0.2  # seconds between progress events of one task; every picture would be megabytes of them


class EventLog:
    """Appends events to a file and hands them to a listener.

    Every event has "time" (seconds since 1970) and "event": "stage" (a new step, with "text"), "progress" ("task",
    "done", "total"), "epoch" (scores of one epoch of fine-tuning), "note" (with "text"), or "end" ("state").
    Numbers that are not finite, such as the loss of a diverging epoch, are null in the file: JSON has no name for them.

    Args:
        path: The file, or None to write none.
        listeners: Called with each event; None is passed over.
    """

    def __init__(self, path: Path | None, *listeners: Listener | None):
        self._file = path.open("a", encoding="utf-8") if path else None
        if path and not path.read_bytes().endswith(b"\n") and path.stat().st_size:
            self._file.write("\n")  # after half a line of a process that was killed
        self._listeners = [listener for listener in listeners if listener is not None]
        self._last: dict[str, float] = {}

    def emit(self, event: str, **values: Any) -> None:
        entry = {"time": time.time(), "event": event, **values}
        if "text" in values:
            log.info("%s", values["text"])
        if self._file:
            finite = {
                key: None if isinstance(value, float) and not math.isfinite(value) else value
                for key, value in entry.items()
            }
            try:
                self._file.write(json.dumps(finite, ensure_ascii=False, allow_nan=False) + "\n")
                self._file.flush()
            except OSError as error:  # a full disk ends a run where it has something to lose: at a checkpoint
                log.info("An event could not be written (%s).", error)
        for listener in self._listeners:
            listener(entry)

    def note(self, text: str) -> None:
        """Tells of what there is to know, in a sentence."""
        self.emit("note", text=text)

    def report(self, task: str, done: int, total: int) -> None:
        """A `tltool.progress.Report`; the first and last of a task are always told, others at intervals."""
        now = time.monotonic()
        if 0 < done < total and now - self._last.get(task, 0.0) < PROGRESS_INTERVAL:
            return
        self._last[task] = now
        self.emit("progress", task=task, done=done, total=total)

    def close(self) -> None:
        if self._file:
            with suppress(OSError):  # what a full disk did not take is written again in closing
                self._file.close()
            self._file = None


def read_events(path: Path) -> list[Event]:
    """All whole lines; a line that is being written is left for the next time, one that never was is passed over."""
    if not path.exists():
        return []
    events = []
    for line in path.read_text("utf-8", "replace").split("\n")[:-1]:
        with suppress(ValueError):
            events.append(json.loads(line))
    return events
