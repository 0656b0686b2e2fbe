"""The log of a run: one strict JSON object a line, whole lines only, and not one line a picture."""

import json

import pytest

from tltool.training.events import EventLog, read_events


def refuse(name: str):
    raise AssertionError(f"{name} is not JSON")


def test_listener_and_file_get_the_same(tmp_path):
    heard = []
    log = EventLog(tmp_path / "events.jsonl", heard.append)
    log.emit("note", text="größer\nals eine Zeile")
    log.emit("end", state="done", top1=0.5)
    log.close()
    assert read_events(tmp_path / "events.jsonl") == heard
    assert [event["event"] for event in heard] == ["note", "end"]
    assert heard[0]["time"] <= heard[1]["time"]
    assert len((tmp_path / "events.jsonl").read_text("utf-8").splitlines()) == 2


def test_an_event_can_be_read_at_once(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    log.emit("stage", text="one")
    assert [event["text"] for event in read_events(tmp_path / "events.jsonl")] == ["one"]
    log.close()


def test_a_log_is_continued_not_replaced(tmp_path):
    for text in ("one", "two"):
        log = EventLog(tmp_path / "events.jsonl")
        log.emit("note", text=text)
        log.close()
    assert [event["text"] for event in read_events(tmp_path / "events.jsonl")] == ["one", "two"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_null_in_the_file_only(tmp_path, value: float):
    heard = []
    log = EventLog(tmp_path / "events.jsonl", heard.append)
    log.emit("epoch", loss=value, valid_log_loss=0.5)
    log.close()
    (line,) = (tmp_path / "events.jsonl").read_text("utf-8").splitlines()
    written = json.loads(line, parse_constant=refuse)
    assert written["loss"] is None
    assert written["valid_log_loss"] == 0.5
    assert str(heard[0]["loss"]) == str(value)


def test_progress_is_thinned_but_first_and_last_are_told():
    heard = []
    log = EventLog(None, heard.append)
    for done in range(1001):
        log.report("Reading", done, 1000)
    log.report("Other", 5, 10)
    told = [(event["task"], event["done"]) for event in heard]
    assert told[0] == ("Reading", 0)
    assert ("Reading", 1000) in told
    assert told[-1] == ("Other", 5)  # another task is not thinned by this one
    assert len(told) < 20


def test_a_line_being_written_is_left_for_later(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_text('{"event": "note"}\n{"event": "en', "utf-8")
    assert read_events(file) == [{"event": "note"}]
    file.write_text('{"event": "note"}\n{"event": "end"}\n', "utf-8")
    assert [event["event"] for event in read_events(file)] == ["note", "end"]


def test_no_log_yet(tmp_path):
    assert read_events(tmp_path / "events.jsonl") == []
