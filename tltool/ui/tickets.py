"""Who may upload: the page hands each visitor a ticket, which another site's page cannot read."""

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

MAX_TICKETS = 10_000  # visitors at a time; the one that was longest away has to reload the page


@dataclass
class Ticket:
    """What a visitor has chosen, and how the last upload went.

    Attributes:
        backbone: To look through.
        problem: Why the last upload came to nothing; a browser whose upload is cut off does not read the answer.
    """

    backbone: str
    problem: str = ""


_tickets: OrderedDict[str, Ticket] = OrderedDict()
_lock = threading.Lock()  # pages are drawn in threads of their own


def renew_ticket(number: str | None, backbone: str) -> str:
    """Notes the visitor's choice, and returns the ticket's number: a new one for a new visitor."""
    number = number or secrets.token_urlsafe()
    with _lock:
        _tickets.setdefault(number, Ticket(backbone)).backbone = backbone
        _tickets.move_to_end(number)
        while len(_tickets) > MAX_TICKETS:
            _tickets.popitem(last=False)
    return number


def find_ticket(number: str) -> Ticket | None:
    """The ticket of this number, if it was handed out."""
    with _lock:
        return _tickets.get(number)
