"""What a run was asked for comes back as it was; anything else is a clear error."""

import json

import pytest

from tltool.errors import RunError
from tltool.files import write_json
from tltool.training.request import Request, read_request

ASKED = Request('name = "x"\n', ("head.folds=3", "fit=crop"), 7, 90.0, "http://tracking:5000")


@pytest.mark.parametrize("request_", [ASKED, Request(None, (), 0, None, None)])
def test_it_comes_back(tmp_path, request_):
    write_json(tmp_path / "request.json", request_.to_json())
    assert read_request(tmp_path / "request.json") == request_


def test_there_is_none(tmp_path):
    with pytest.raises(RunError, match=r"request\.json: is missing, so nobody knows what this run was asked for"):
        read_request(tmp_path / "request.json")


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": "7"},
        {"settings": None},
        {"settings": [1]},
        {"recipe": 3},
        {"budget": "10m"},
        {"mlflow": ["a"]},
        {"other": 1},
    ],
)
def test_a_damaged_one(tmp_path, changes):
    write_json(tmp_path / "request.json", ASKED.to_json() | changes)
    with pytest.raises(RunError, match=r"request\.json: damaged .* Fit again"):
        read_request(tmp_path / "request.json")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", json.dumps({"seed": 1}).encode()])
def test_what_is_no_request_at_all(tmp_path, content):
    (tmp_path / "request.json").write_bytes(content)
    with pytest.raises(RunError, match=r"request\.json: damaged"):
        read_request(tmp_path / "request.json")
