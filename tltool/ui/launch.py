"""`tltool app`: starts Streamlit on `app.py`."""

import signal
import socket
from contextlib import suppress
from ipaddress import ip_address

from tltool.errors import TltoolError
from tltool.shipped import shipped

MAX_PICTURE_MB = 50  # one to try a model on, which Streamlit holds in memory; 100 megapixels as a good JPEG are 40
ANYWHERE = ("0.0.0.0", "::")


def launch(host: str, port: int) -> None:
    """Serves the app until it is interrupted, and says how to open it.

    Args:
        host: Address to listen on.
        port: Port to listen on.

    Raises:
        TltoolError: if nothing can listen there.
    """
    check_address(host, port)
    import click
    from streamlit.web import cli

    # Shells make what they start in the background ignore interrupts, and processes inherit that: Stop would be deaf.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    shown = "localhost" if host in ANYWHERE else f"[{host}]" if ":" in host else host
    print(f"Open http://{shown}:{port} in a browser. Ctrl+C ends the app; training goes on without it.", flush=True)
    if not is_loopback(host):
        print(
            f"Whoever can reach {host}:{port} can use this machine and read its folders of pictures. "
            "Leave out --host to keep the app to yourself.",
            flush=True,
        )
    # Else the way to end the app would print "Aborted!" and count as a failure.
    with suppress(click.Abort):
        cli.main(["run", str(shipped("app.py")), *flags(host, port)], prog_name="tltool app", standalone_mode=False)


def flags(host: str, port: int) -> list[str]:
    """Streamlit's options."""
    options = {
        "server.address": host,
        "server.port": port,
        "server.headless": True,  # no browser is opened, no e-mail address asked for
        "server.showEmailPrompt": False,
        "server.maxUploadSize": MAX_PICTURE_MB,
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "logger.hideWelcomeMessage": True,
        "theme.light.primaryColor": "#0f766e",
        "theme.dark.primaryColor": "#0d9488",
    }
    return [f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in options.items()]


def check_address(host: str, port: int) -> None:
    """Raises TltoolError unless a server can listen there."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else a server just ended blocks its port
            probe.bind(address)
            probe.listen()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TltoolError(f"Cannot listen on {host}:{port} ({reason}). Give another --port or --host.") from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
