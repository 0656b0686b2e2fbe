"""`tltool app`: where it listens, and what it says when it cannot."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from urllib.error import HTTPError

import pytest

from tltool.errors import TltoolError
from tltool.shipped import shipped
from tltool.ui.launch import check_address, flags, is_loopback
from tltool.ui.uploads import PATH


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("way", ["tltool app", "streamlit run"])
def test_it_serves_the_page_and_takes_uploads_until_it_is_interrupted(port, tmp_path, way):
    ways = {
        "tltool app": ["tltool", "app", "--port", str(port)],
        "streamlit run": ["streamlit", "run", str(shipped("app.py")), *flags("127.0.0.1", port)],
    }
    environment = os.environ | {"TLTOOL_CACHE": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-m", *ways[way]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    ) as server:
        try:
            if way == "tltool app":
                assert f"Open http://127.0.0.1:{port} " in server.stdout.readline().decode()
            assert _answer(f"http://127.0.0.1:{port}/_stcore/health") == b"ok"
            with pytest.raises(HTTPError, match="403") as refused:
                _answer(f"http://127.0.0.1:{port}/{PATH}?name=photos.zip")
            assert "Reload" in json.load(refused.value)["error"]
            refused.value.close()
        finally:
            server.send_signal(signal.SIGINT)
            ended = server.wait(20)
        said = server.stdout.read().decode()
    assert "Traceback" not in said
    if way == "tltool app":
        assert (ended, "Aborted" in said) == (0, False)


def test_a_port_in_use_is_said_before_anything_starts(port):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(TltoolError, match=f"Cannot listen on 127.0.0.1:{port} .*another --port"):
            check_address("127.0.0.1", port)


def test_an_address_that_is_not_this_machines_is_said(port):
    with pytest.raises(TltoolError, match="Cannot listen"):
        check_address("203.0.113.1", port)  # reserved for documentation: RFC 5737


def test_no_statistics_are_sent_and_no_address_asked_for():
    options = flags("127.0.0.1", 8501)
    assert "--browser.gatherUsageStats=false" in options
    assert "--server.showEmailPrompt=false" in options
    assert "--server.headless=true" in options


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("192.168.1.5", False), ("", False)],
)
def test_loopback(host, loopback):
    assert is_loopback(host) is loopback


def _answer(url: str) -> bytes:
    end = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return response.read()
        except HTTPError:
            raise
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.1)
