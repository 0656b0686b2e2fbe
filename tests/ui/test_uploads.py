"""What the browser sends arrives whole, or nothing of it stays."""

import asyncio
import errno
import json
import os
import signal
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote, urlencode

import pytest
from starlette.applications import Starlette
from streamlit import config

from tltool.ui import incoming, uploads
from tltool.ui.tickets import find_ticket, renew_ticket
from tltool.ui.workspace import FOLDER, open_workspace

HOST = "127.0.0.1:8501"
CONTENT = bytes(range(256)) * 20_000  # 5 MB: several chunks


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def ticket() -> str:
    return renew_ticket(None, "tiny_random")


def pieces(content: bytes = CONTENT, size: int = 60_001) -> Iterable[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


async def send(method: str, query: dict, headers: dict, messages: AsyncIterator[dict]) -> tuple[int, dict]:
    """The status and the JSON that the routes answer to one request."""
    sent = []

    async def collect(message: dict) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": f"/{uploads.PATH}",
        "query_string": urlencode(query, quote_via=quote).encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
    }
    await Starlette(routes=uploads.routes())(scope, messages.__anext__, collect)
    start, body = sent
    return start["status"], json.loads(body["body"])


async def whole(body: Iterable[bytes]) -> AsyncIterator[dict]:
    for piece in body:
        yield {"type": "http.request", "body": piece, "more_body": True}
    yield {"type": "http.request", "body": b"", "more_body": False}


async def post(ticket: str | None, body: Iterable[bytes] | AsyncIterator[dict], name="photos.zip", **headers: str):
    given = {"Host": HOST, "Origin": f"http://{HOST}"} | ({uploads.TICKET_HEADER: ticket} if ticket else {})
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    messages = body if isinstance(body, AsyncIterator) else whole(body)
    return await send("POST", {"name": name}, given, messages)


def upload(*arguments, **named) -> tuple[int, dict]:
    return asyncio.run(post(*arguments, **named))


def ask(ticket: str | None, **query: str) -> tuple[int, dict]:
    headers = {"Host": HOST} | ({uploads.TICKET_HEADER: ticket} if ticket else {})
    return asyncio.run(send("GET", query, headers, whole([])))


def kept(cache: Path) -> list[Path]:
    """Files of all workspaces; empty folders count too."""
    folder = cache / FOLDER
    return sorted(folder.rglob("*")) if folder.exists() else []


def unread() -> AsyncIterator[dict]:
    """A body that must not be touched."""

    async def body() -> AsyncIterator[dict]:
        raise AssertionError("the body was read")
        yield

    return body()


def test_an_upload_becomes_a_workspace(cache, ticket):
    status, answer = upload(ticket, pieces(), Content_Length=str(len(CONTENT)))
    assert status == 201
    workspace = open_workspace(answer["workspace"])
    assert (workspace.title, workspace.settings["backbone"]) == ("photos", "tiny_random")
    source = Path(workspace.source)
    assert source == workspace.path / "upload" / "photos.zip"
    assert source.read_bytes() == CONTENT
    assert sorted(path.name for path in kept(cache)) == sorted([workspace.id, "upload", "photos.zip", "workspace.json"])


def test_the_network_that_is_chosen_when_it_ends_counts(ticket):
    async def body() -> AsyncIterator[dict]:
        yield {"type": "http.request", "body": b"PK", "more_body": True}
        renew_ticket(ticket, "efficientnet_lite0")
        yield {"type": "http.request", "body": b"", "more_body": False}

    _, answer = upload(ticket, body())
    assert open_workspace(answer["workspace"]).settings["backbone"] == "efficientnet_lite0"


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.gz", ".tgz", ".ZIP", ".Tar.Gz"])
def test_archives_keep_their_ending(ticket, ending):
    _, answer = upload(ticket, [b"x"], name=f"photos{ending}")
    workspace = open_workspace(answer["workspace"])
    assert (workspace.title, Path(workspace.source).name) == ("photos", f"photos{ending.lower()}")


@pytest.mark.parametrize("name", ["photos.rar", "photos", "ant.jpg", "zip", "photos.zip.exe", "", ".gz", "a.zip/"])
def test_another_ending_is_refused_unread(cache, ticket, name):
    status, answer = upload(ticket, unread(), name=name)
    assert status == 415
    assert "into a .zip" in answer["error"]
    assert kept(cache) == []


@pytest.mark.parametrize(
    ("name", "title", "file"),
    [
        ("../../etc/evil.zip", "evil", "evil.zip"),
        ("..\\..\\evil.zip", "evil", "evil.zip"),
        ("C:\\photos\\my ants.zip", "my ants", "my_ants.zip"),
        ("蟻と蜂.tar.gz", "蟻と蜂", "pictures.tar.gz"),
        (".zip", "pictures", "pictures.zip"),
        ("....zip", "...", "pictures.zip"),
        ("-rf *.zip", "-rf *", "rf.zip"),
        ("a\nb\0c.zip", "a\nb\0c", "a_b_c.zip"),
        ("CON%2f.zip", "CON%2f", "CON_2f.zip"),
        ("x" * 4000 + ".zip", "x" * 200, "x" * 60 + ".zip"),
        ("photos.part.zip", "photos.part", "photos.part.zip"),
    ],
    ids=lambda value: None if len(value) > 60 else repr(value),
)
def test_odd_names_stay_inside(cache, ticket, name, title, file):
    status, answer = upload(ticket, [b"x"], name=name)
    assert status == 201
    workspace = open_workspace(answer["workspace"])
    assert workspace.title == title
    assert Path(workspace.source) == cache / FOLDER / workspace.id / "upload" / file
    assert Path(workspace.source).read_bytes() == b"x"
    assert [path.name for path in cache.iterdir()] == [FOLDER]


def test_a_name_that_is_not_text_stays_inside(cache, ticket):
    messages = whole([b"x"])
    scope_query = {"name": b"\xff\xfe.zip"}
    headers = {"Host": HOST, "Origin": f"http://{HOST}", uploads.TICKET_HEADER: ticket}
    status, answer = asyncio.run(send("POST", scope_query, headers, messages))
    assert status == 201
    assert open_workspace(answer["workspace"]).source.endswith("pictures.zip")


def test_what_is_announced_as_too_large_is_refused_unread(cache, ticket):
    status, answer = upload(ticket, unread(), Content_Length=str(incoming.MAX_UPLOAD_BYTES + 1))
    assert (status, kept(cache)) == (413, [])
    assert answer["error"] == (
        "photos.zip: more than 21.5 GB. Unpack it on the machine that runs tltool, and give the folder."
    )


def test_what_turns_out_too_large_is_removed(cache, ticket, monkeypatch):
    monkeypatch.setattr(incoming, "MAX_UPLOAD_BYTES", len(CONTENT) - 1)
    status, answer = upload(ticket, pieces())  # its length is not announced
    assert (status, kept(cache)) == (413, [])
    assert "more than" in answer["error"]
    monkeypatch.setattr(incoming, "MAX_UPLOAD_BYTES", len(CONTENT))
    assert upload(ticket, pieces())[0] == 201


def test_a_number_that_is_none_is_no_size(ticket):
    assert upload(ticket, [b"x"], Content_Length="9" * 5000)[0] == 201


def free_space(monkeypatch, *free: int) -> None:
    """Disks that have so many bytes free, one number a question; the last one stays."""
    answers = list(free)

    def disk_usage(_path: Path) -> SimpleNamespace:
        return SimpleNamespace(free=answers.pop(0) if len(answers) > 1 else answers[0])

    monkeypatch.setattr(incoming.shutil, "disk_usage", disk_usage)


def test_what_will_not_fit_with_its_pictures_is_refused_unread(cache, ticket, monkeypatch):
    free_space(monkeypatch, incoming.KEPT_FREE_BYTES + 19_999_999)
    status, answer = upload(ticket, unread(), Content_Length="10000000")
    assert (status, kept(cache)) == (507, [])
    assert answer["error"] == (
        "photos.zip: 10.0 MB, and as much again once it is unpacked; 556.9 MB are free on the disk of the machine that "
        "runs tltool, of which 536.9 MB are left alone. Free some space there."
    )
    free_space(monkeypatch, incoming.KEPT_FREE_BYTES + 20_000_000)
    assert upload(ticket, [b"x"], Content_Length="10000000")[0] == 201


def test_a_disk_that_fills_meanwhile_ends_the_upload(cache, ticket, monkeypatch):
    free_space(monkeypatch, 2**40, 2**40, 2**40, incoming.KEPT_FREE_BYTES)
    status, answer = upload(ticket, pieces(), name="My ants.zip", Content_Length=str(len(CONTENT)))
    assert (status, kept(cache)) == (507, [])
    assert answer["error"].startswith("My ants.zip: 536.9 MB are free")


def test_a_disk_that_is_full_is_a_sentence(cache, ticket, monkeypatch):
    def write(_self, _chunk: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(incoming.Incoming, "write", write)
    status, answer = upload(ticket, pieces())
    assert (status, kept(cache)) == (507, [])
    assert "No space left on device" in answer["error"]


@pytest.mark.parametrize("length", [None, "0"])
def test_an_empty_file_is_refused(cache, ticket, length):
    status, answer = upload(ticket, [], **({"Content_Length": length} if length else {}))
    assert (status, kept(cache)) == (400, [])
    assert "empty" in answer["error"]


@pytest.mark.parametrize(
    ("origin", "host", "address", "status"),
    [
        ("http://127.0.0.1:8501", "127.0.0.1:8501", "127.0.0.1", 201),
        ("http://localhost:8501", "localhost:8501", "127.0.0.1", 201),
        ("http://[::1]:8501", "[::1]:8501", "::1", 201),
        ("https://tltool.example", "tltool.example", "0.0.0.0", 201),
        ("http://10.0.0.7:8501", "10.0.0.7:8501", None, 201),
        ("http://127.0.0.1:9999", "127.0.0.1:8501", "127.0.0.1", 403),  # another program's page
        ("https://evil.example", "127.0.0.1:8501", "127.0.0.1", 403),
        ("http://evil.example:8501", "evil.example:8501", "127.0.0.1", 403),  # its name leads here
        ("http://127.0.0.1:8501.evil.example", "127.0.0.1:8501", "127.0.0.1", 403),
        ("null", "127.0.0.1:8501", "127.0.0.1", 403),
        ("", "127.0.0.1:8501", "127.0.0.1", 403),
        ("", "", None, 403),
        ("http://[", "[", None, 403),
        ("https://proxy.example", "127.0.0.1:8501", "127.0.0.1", 201),  # named in the options
    ],
)
def test_only_its_own_page_may_upload(cache, ticket, monkeypatch, origin, host, address, status):
    options = {"server.address": address, "server.corsAllowedOrigins": ["https://proxy.example"]}
    monkeypatch.setattr(uploads.st, "get_option", options.get)
    body = [b"x"] if status == 201 else unread()
    answered, answer = upload(ticket, body, Origin=origin, Host=host)
    assert answered == status
    if status == 403:
        assert "must come from tltool's own page" in answer["error"]
        assert kept(cache) == []


@pytest.mark.parametrize("number", [None, "", "guessed", "0" * 43])
def test_without_a_ticket_nothing_is_taken_or_told(cache, number):
    for status, answer in (upload(number, unread()), ask(number), ask(number, name="photos.zip", size="1")):
        assert status == 403
        assert "Reload" in answer["error"]
    assert kept(cache) == []


def test_a_client_that_goes_away_leaves_nothing(cache, ticket):
    seen = []

    async def body() -> AsyncIterator[dict]:
        for piece in pieces():
            yield {"type": "http.request", "body": piece, "more_body": True}
        seen.extend(path.name for path in kept(cache))
        yield {"type": "http.disconnect"}

    assert upload(ticket, body())[0] == 400
    assert "photos.part" in seen  # it was under way
    assert kept(cache) == []


def test_a_client_that_falls_silent_is_not_waited_for(cache, ticket, monkeypatch):
    monkeypatch.setattr(uploads, "IDLE_SECONDS", 0.05)

    async def body() -> AsyncIterator[dict]:
        yield {"type": "http.request", "body": b"PK", "more_body": True}
        await asyncio.sleep(60)

    status, answer = upload(ticket, body())
    assert (status, kept(cache)) == (408, [])
    assert "Nothing arrived for 0.05 s" in answer["error"]


def test_two_at_once_do_not_meet(ticket):
    first, second = CONTENT, CONTENT[::-1]

    async def slowly(content: bytes) -> AsyncIterator[dict]:
        async for message in whole(pieces(content)):
            await asyncio.sleep(0)  # the other one's turn
            yield message

    async def both() -> list[tuple[int, dict]]:
        other = renew_ticket(None, "efficientnet_lite0")
        return await asyncio.gather(post(ticket, slowly(first)), post(other, slowly(second)))

    (_, one), (_, two) = asyncio.run(both())
    spaces = [open_workspace(answer["workspace"]) for answer in (one, two)]
    assert [Path(space.source).read_bytes() for space in spaces] == [first, second]
    assert [space.settings["backbone"] for space in spaces] == ["tiny_random", "efficientnet_lite0"]


def test_asking_first_tells_what_sending_would(ticket):
    assert ask(ticket, name="photos.zip", size="1000") == (200, {"error": ""})
    for query, status in (
        ({"name": "photos.rar", "size": "1000"}, 415),
        ({"name": "photos.zip", "size": "0"}, 400),
        ({"name": "photos.zip", "size": str(incoming.MAX_UPLOAD_BYTES + 1)}, 413),
    ):
        told = ask(ticket, **query)
        assert told[0] == status
        assert told == upload(ticket, unread(), name=query["name"], Content_Length=query["size"])


def test_why_the_last_one_failed_can_be_asked(ticket, monkeypatch):
    free_space(monkeypatch, 2**40, incoming.KEPT_FREE_BYTES)
    _, answer = upload(ticket, pieces())
    assert answer["error"]
    assert ask(ticket) == (200, answer)
    free_space(monkeypatch, 2**40)
    assert upload(ticket, pieces())[0] == 201
    assert ask(ticket) == (200, {"error": ""})


def test_memory_does_not_grow_with_the_file(ticket):
    async def body() -> AsyncIterator[dict]:
        for _ in range(1000):
            yield {"type": "http.request", "body": bytes(65_536), "more_body": True}
        yield {"type": "http.request", "body": b"", "more_body": False}

    upload(ticket, [b"x"])  # modules are loaded
    tracemalloc.start()
    try:
        status, answer = upload(ticket, body())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert status == 201
    assert Path(open_workspace(answer["workspace"]).source).stat().st_size == 65_536_000
    assert peak < 6 * uploads.CHUNK_BYTES


def test_stopping_the_server_breaks_an_upload_off(cache, ticket, monkeypatch):
    told = []
    before = signal.signal(signal.SIGINT, lambda number, frame: told.append(number))
    try:

        async def interrupted() -> tuple[int, dict]:
            async def body() -> AsyncIterator[dict]:
                yield {"type": "http.request", "body": b"PK", "more_body": True}
                signal.raise_signal(signal.SIGINT)
                await asyncio.sleep(60)

            async with uploads.breaking_off(None):
                return await post(ticket, body())

        ours = signal.getsignal(signal.SIGINT)
        status, answer = asyncio.run(interrupted())
        assert signal.getsignal(signal.SIGINT) is ours
    finally:
        signal.signal(signal.SIGINT, before)
    assert (status, told, kept(cache)) == (503, [signal.SIGINT], [])
    assert "stopped" in answer["error"]


def test_what_a_killed_server_left_is_removed_in_time(cache, ticket):
    _, answer = upload(ticket, [b"x"])
    finished = open_workspace(answer["workspace"])
    left = {name: cache / FOLDER / name / "upload" / "photos.part" for name in ("a" * 32, "b" * 32)}
    for part in left.values():
        part.parent.mkdir(parents=True)
        part.write_bytes(b"x")
    long_ago = time.time() - incoming.ABANDONED_SECONDS - 60
    for path in (left["a" * 32], Path(finished.source)):
        os.utime(path, (long_ago, long_ago))
    assert upload(ticket, [b"x"])[0] == 201
    assert not (cache / FOLDER / ("a" * 32)).exists()
    assert left["b" * 32].exists()  # another server may be writing it
    assert Path(finished.source).exists()


def test_a_cache_that_cannot_be_written_is_a_sentence(tmp_path, ticket, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path / "file"))
    status, answer = upload(ticket, unread())
    assert status == 507
    assert "cannot be written" in answer["error"]


def test_the_route_lies_below_the_page(monkeypatch):
    monkeypatch.setattr(uploads.st, "get_option", {"server.baseUrlPath": "/apps/tltool/"}.get)
    assert {route.path for route in uploads.routes()} == {"/apps/tltool/uploads"}
    assert {method for route in uploads.routes() for method in route.methods} == {"GET", "HEAD", "POST"}


def test_streamlits_options_are_called_that():
    for name in ("server.baseUrlPath", "server.address", "server.corsAllowedOrigins"):
        config.get_option(name)  # raises where there is none


def test_tickets_are_told_apart_and_the_oldest_goes(monkeypatch):
    monkeypatch.setattr("tltool.ui.tickets.MAX_TICKETS", 3)
    monkeypatch.setattr("tltool.ui.tickets._tickets", type(find_ticket.__globals__["_tickets"])())
    numbers = [renew_ticket(None, f"network-{index}") for index in range(3)]
    assert len(set(numbers)) == 3
    assert all(len(number) >= 43 for number in numbers)  # 256 bits: nobody guesses one
    assert renew_ticket(numbers[0], "other") == numbers[0]
    renew_ticket(None, "fourth")
    assert find_ticket(numbers[1]) is None
    assert (find_ticket(numbers[0]).backbone, find_ticket(numbers[2]).backbone) == ("other", "network-2")
