"""What happens in a run, one JSON object a line, for whoever watches: the command line, the app, a later reader."""

import json
import logging
import math
import time
from collections.abc import Callable
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
        listener: Called with each event.
    """

    def __init__(self, path: Path | None, listener: Listener | None = None):
        self._file = path.open("a", encoding="utf-8") if path else None
        self._listener = listener
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
            self._file.write(json.dumps(finite, ensure_ascii=False, allow_nan=False) + "\n")
            self._file.flush()
        if self._listener:
            self._listener(entry)

    def report(self, task: str, done: int, total: int) -> None:
        """A `tltool.progress.Report`; the first and last of a task are always told, others at intervals."""
        now = time.monotonic()
        if 0 < done < total and now - self._last.get(task, 0.0) < PROGRESS_INTERVAL:
            return
        self._last[task] = now
        self.emit("progress", task=task, done=done, total=total)

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None


def read_events(path: Path) -> list[Event]:
    """All whole lines; a line that is being written is left for the next time."""
    if not path.exists():
        return []
    lines = path.read_text("utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]
