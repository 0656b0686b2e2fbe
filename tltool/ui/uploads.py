"""Where the browser sends its file: a route beside Streamlit's own, which streams it to disk.

Streamlit's uploader holds a whole file in memory, and twice while it arrives; this holds one chunk.
"""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from types import FrameType
from urllib.parse import SplitResult, urlsplit

import streamlit as st
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tltool.errors import TltoolError
from tltool.ui.incoming import UploadError, check_upload, receiving
from tltool.ui.launch import is_loopback
from tltool.ui.tickets import Ticket, find_ticket

PATH = "uploads"  # below the page's own address
# A header that is not one of a form's: for it, a browser asks the server before it sends another site's request.
TICKET_HEADER = "X-Tltool-Ticket"
CHUNK_BYTES = 2**20  # that are written at once; uvicorn hands over some 64 kB at a time
IDLE_SECONDS = 120  # without a byte; a network that stumbles is back by then

_under_way: set[asyncio.Task] = set()  # uploads


def routes() -> list[Route]:
    """What `streamlit.App` adds to its own routes."""
    base = (st.get_option("server.baseUrlPath") or "").strip("/")
    path = f"/{base}/{PATH}" if base else f"/{PATH}"
    return [Route(path, ask, methods=["GET"]), Route(path, take, methods=["POST"])]


@asynccontextmanager
async def breaking_off(_app: st.App) -> AsyncIterator[None]:
    """Breaks off what is arriving when the server is told to stop, for which uvicorn would wait to the last byte."""
    loop, before = asyncio.get_running_loop(), {}

    def stop(number: int, frame: FrameType | None) -> None:
        for task in _under_way:
            loop.call_soon_threadsafe(task.cancel)
        before[number](number, frame)

    if threading.current_thread() is threading.main_thread():  # no other one may set what a signal does
        for number in (signal.SIGINT, signal.SIGTERM):
            if callable(signal.getsignal(number)):
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def ask(request: Request) -> JSONResponse:
    """Whether a file would be taken, before it is sent; without a name, why the last upload was not.

    Query: `name` and `size`, bytes.
    """
    try:
        ticket = _ticket(request)
        if "name" in request.query_params:
            check_upload(request.query_params["name"], _number(request.query_params.get("size")))
            return JSONResponse({"error": ""})
        return JSONResponse({"error": ticket.problem})
    except TltoolError as error:
        return _answer(error)


async def take(request: Request) -> JSONResponse:
    """Makes a workspace of the request's body; answers with its `workspace`, or with an `error` in a sentence.

    Query: `name`. Nothing is left of an upload that is refused or cut off.
    """
    try:
        _check_origin(request)
        ticket = _ticket(request)
    except UploadError as error:
        return _answer(error)
    ticket.problem = ""
    task = asyncio.current_task()
    _under_way.add(task)
    try:
        name = request.query_params.get("name", "")
        with receiving(name, _number(request.headers.get("content-length"))) as incoming:
            async with aclosing(_chunks(request)) as chunks:
                async for chunk in chunks:
                    # In a thread: a slow disk must not keep the other visitors' pages waiting.
                    await asyncio.to_thread(incoming.write, chunk)
            if not incoming.received:
                raise UploadError(400, "The file is empty. Pack the folder again.")
            workspace = incoming.keep(ticket.backbone)
        return JSONResponse({"workspace": workspace.id}, 201)
    except ClientDisconnect:
        return _answer(UploadError(400, "The upload was cut off."))  # nobody reads it
    except asyncio.CancelledError:
        return _answer(
            UploadError(503, "tltool was stopped before the file had arrived. Start it, and reload this page.")
        )
    except TltoolError as error:
        ticket.problem = str(error)
        return _answer(error)
    finally:
        _under_way.discard(task)


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    pending = bytearray()
    async with aclosing(request.stream()) as stream:
        while True:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    piece = await anext(stream, None)
            except TimeoutError:
                raise UploadError(
                    408, f"Nothing arrived for {IDLE_SECONDS} s. Check the network and try again."
                ) from None
            if piece is None:
                break
            pending += piece
            if len(pending) >= CHUNK_BYTES:
                yield bytes(pending)
                pending.clear()
    if pending:
        yield bytes(pending)


def _check_origin(request: Request) -> None:
    """Raises UploadError unless the request comes from a page of this server.

    Any page that is open in a browser can make that browser send requests to this machine.
    """
    origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
    if origin in st.get_option("server.corsAllowedOrigins"):
        return
    # A site can have its own name lead to 127.0.0.1. To the browser it is one origin with this server then.
    is_ours = is_loopback(_split(f"//{host}").hostname or "") or not is_loopback(st.get_option("server.address") or "")
    if not is_ours or not host or _split(origin).netloc != host:
        raise UploadError(
            403,
            f"An upload from {origin or 'nowhere'} to {host or 'nowhere'} is not taken: it must come from tltool's own "
            "page. Behind a proxy, name the page's address in Streamlit's option server.corsAllowedOrigins.",
        )


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:  # a bracket that is not closed
        return urlsplit("")


def _ticket(request: Request) -> Ticket:
    ticket = find_ticket(request.headers.get(TICKET_HEADER, ""))
    if ticket is None:
        raise UploadError(403, "This page is older than the server that it talks to. Reload it and try again.")
    return ticket


def _number(text: str | None) -> int | None:
    # The length: Python refuses to read numbers of thousands of digits.
    return int(text) if text and len(text) < 20 and text.isascii() and text.isdigit() else None


def _answer(error: TltoolError) -> JSONResponse:
    # A folder that cannot be written is the one reason without a number of its own.
    status = error.status if isinstance(error, UploadError) else 507
    # "close": else the server would read a refused file to its end before it hears the next request.
    return JSONResponse({"error": str(error)}, status, headers={"Connection": "close"})
