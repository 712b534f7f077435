"""Commands of people over HTTP: who may give them, what they look like, and the way to the main loop and back."""

import hashlib
import hmac
import ipaddress
import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from alerts.desk_terms import Command, Reply
from alerts.senders.sender import ReceiverConfigError, Secret, secrets_in
from monitor.control.http_server import Answer, Posted
from monitor.control.inbox import Inbox

ROUTE = "/api/v1/commands"
WITHIN_S = 8.0  # less than the server gives a request


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a command."""

    do: str
    by: str
    why: str = ""
    target: str = ""
    matchers: dict[str, str] = {}
    for_ms: int = 0


def commands_route(inbox: Inbox, token: Secret | None) -> Callable[[Posted], Answer]:
    """Answers a POST: 401 and 403 for strangers, 400 for what is no command, else what the main loop says."""

    def answer(posted: Posted) -> Answer:
        refused = refusal(posted, token)
        if refused is not None:
            return said(refused)
        if posted.headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return said(Reply(415, "send application/json"))  # a page in somebody's browser cannot, unasked
        try:
            order = msgspec.json.decode(posted.body, type=Order)
        except (msgspec.MsgspecError, ValueError) as error:
            return said(Reply(400, f"not a command: {error}"))
        command = Command(order.do, order.by, order.why, order.target, order.matchers, order.for_ms)
        return said(inbox.ask(command, WITHIN_S))

    return answer


def refusal(posted: Posted, token: Secret | None) -> Reply | None:
    """Why this client may not command: a wrong token, or none and not from this machine. Constant in time."""
    if token is None:
        local = ipaddress.ip_address(posted.client).is_loopback
        return None if local else Reply(403, "without http.token only this machine may command")
    try:
        known = secrets_in(token)
    except (OSError, ReceiverConfigError):
        return Reply(503, "the token cannot be read")
    given = _digest(posted.headers.get("authorization", "").removeprefix("Bearer "))
    matches = [hmac.compare_digest(given, _digest(secret)) for secret in known]
    return None if any(matches) else Reply(401, "a valid token is needed: Authorization: Bearer ...")


def said(reply: Reply) -> Answer:
    """A reply as JSON."""
    body: Mapping[str, Any] = {"status": reply.status, "text": reply.text, "id": reply.id}
    return reply.status, "application/json", json.dumps(body).encode() + b"\n"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
