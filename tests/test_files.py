"""A reader meets the old file or the new one, never half of one, and a failed write leaves nothing behind."""

import json

import pytest

from tltool import files
from tltool.files import replacing, write_json, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_reads_back(tmp_path):
    value = {"classes": ["Ärger", "日本"], "top1": 0.5, "nothing": None}
    write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == value
    assert "Ärger" in (tmp_path / "a.json").read_text("utf-8")  # readable, not \u escapes
    assert names(tmp_path) == ["a.json"]


def test_a_longer_file_is_replaced_whole(tmp_path):
    file = tmp_path / "a.txt"
    write_text(file, "long " * 100)
    write_text(file, "short")
    assert file.read_text("utf-8") == "short"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_half_way_leaves_the_old_file_and_no_litter(tmp_path, error):
    file = tmp_path / "a.json"
    write_json(file, {"version": 1})

    def write():
        with replacing(file) as temporary:
            temporary.write_text('{"version": ', "utf-8")
            assert json.loads(file.read_text("utf-8")) == {"version": 1}  # untouched while the new one is written
            raise error

    with pytest.raises(error):
        write()
    assert json.loads(file.read_text("utf-8")) == {"version": 1}
    assert names(tmp_path) == ["a.json"]


def test_a_disk_that_fails_at_the_end_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "a.json"
    write_json(file, {"version": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_json(file, {"version": 2})
    assert json.loads(file.read_text("utf-8")) == {"version": 1}
    assert names(tmp_path) == ["a.json"]


def test_a_value_that_json_cannot_hold_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", [1])
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", [1, object()])
    assert (tmp_path / "a.json").read_text("utf-8").split() == ["[", "1", "]"]


def test_the_temporary_file_keeps_the_ending(tmp_path):
    """Writers such as `keras.Model.save` choose the format by it."""
    with replacing(tmp_path / "model.keras") as temporary:
        assert temporary.suffix == ".keras"
        assert temporary.parent == tmp_path  # another file system could not be renamed from
        temporary.write_bytes(b"weights")
    assert (tmp_path / "model.keras").read_bytes() == b"weights"
