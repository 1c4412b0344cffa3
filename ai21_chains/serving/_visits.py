"""One request, as the server keeps account of it: who, which model, how long, how many tokens."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from decimal import Decimal
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

from ai21_chains._catalog import known_model
from ai21_chains._wire_parts import usage_metadata
from ai21_chains.serving._keys_records import over_budget
from ai21_chains.serving._refusals import Refused

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from ai21_chains._wire import Usage
    from ai21_chains.serving._keys_records import Caller
    from ai21_chains.serving._service import Service

_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


@dataclass(eq=False)
class Visit:
    """A request, from its first byte to the end of its answer.

    Attributes:
        service: What answers it.
        id: Its id: the client's `x-request-id`, or one made here.
        route: Where it goes, in one of few words.
        model: The model that it asks, if that is served; else "".
        caller: Whose it is, once that is known.
        status: The status of the answer, once that has begun; 499 if the client has gone.
        first_piece: Seconds until the first piece of a streamed answer.
        prompt_tokens: Tokens that models have read for it.
        completion_tokens: Tokens that models have written for it.
        cost_usd: What they cost; None where a price is not known.
        entered: Whether it counts as worked on.
    """

    service: Service
    id: str
    route: str = "other"
    model: str = ""
    caller: Caller | None = None
    status: int = 0
    first_piece: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: Decimal | None = Decimal(0)
    entered: bool = False
    _left_usd: Decimal | None = None
    _held_usd: Decimal = Decimal(0)
    _began: float = field(default_factory=time.perf_counter)
    _owes: bool = False

    @property
    def seconds(self) -> float:
        """Seconds since its first byte."""
        return time.perf_counter() - self._began

    def used(self, model: str, usage: Usage | None) -> None:
        """Count what an answer has used.

        Args:
            model: The model that gave it, as AI21 calls it.
            usage: Its tokens; None if the server did not say.
        """
        counts = usage_metadata(usage)  # nothing but numbers of tokens may be charged
        read, written = (counts["input_tokens"], counts["output_tokens"]) if counts else (0, 0)
        known = known_model(model)
        self._owes = True
        self.prompt_tokens += read
        self.completion_tokens += written
        if known is None or self.cost_usd is None:
            self.cost_usd = None
        else:
            self.cost_usd += known.price.of(read, written)

    async def settle(self) -> None:
        """Charge the caller with what was used; once, however often it is called."""
        if self.caller is None:
            return
        if self._owes:
            self._owes = False
            await self.service.keys.charge(
                self.caller,
                self.model,
                prompt_tokens=self.prompt_tokens,
                completion_tokens=self.completion_tokens,
                cost_usd=self.cost_usd,
            )
        held, self._held_usd = self._held_usd, Decimal(0)
        self.service.keys.release(self.caller, held)

    def check_budget(self) -> None:
        """Refuse to ask a model once more when what was used has come to what was left.

        Raises:
            Refused: 429.
        """
        if self._left_usd is not None and self.cost_usd is not None:
            assert self.caller is not None
            if self.cost_usd >= self._left_usd:
                raise over_budget(self.caller)

    async def identify(self, request: HTTPConnection, route: str) -> Caller:
        """Find out who is calling.

        Args:
            request: The request; its key is in `Authorization: Bearer KEY` or `x-api-key: KEY`.
            route: Where it goes.

        Raises:
            Refused: 401, there is no key, or it is not a good one; 403, none is needed, and a page
                from elsewhere tries to make use of that.
        """
        self.route = route
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            token = request.headers.get("x-api-key", "")
        self.caller = await self.service.keys.caller(token.strip() or None)
        if self.caller.id == "open" and (origin := request.headers.get("origin")):
            self._check_origin(origin, request.headers.get("host", ""))
        return self.caller

    def _check_origin(self, origin: str, host: str) -> None:
        """Refuse what a page in the web has a browser send to a server without keys."""
        allowed = self.service.config.cors_origins
        if not (origin in allowed or "*" in allowed or _is_near(origin, host)):
            raise Refused(
                "This server asks for no key, and so takes nothing from pages that are not its "
                "own; to let them in, list their address in cors_origins, or set a master key",
                status=403,
            )

    async def admit(self, model: str, tokens: int, requests: int = 1) -> None:
        """Begin to work on it.

        Args:
            model: The name of a served model or chain.
            tokens: About how many tokens it has.
            requests: As how many requests it counts: each row of a batch and each prompt is one.

        Raises:
            Refused: 403 or 429, the caller may not do this, or not now; 429, the server has its
                hands full.
        """
        assert self.caller is not None
        self.model = model
        cost = self.service.prompt_usd(model, tokens)
        self._left_usd = await self.service.keys.admit(
            self.caller, model, tokens, requests=requests, cost_usd=cost
        )
        self._held_usd = cost or Decimal(0)
        self.enter()

    def enter(self) -> None:
        """Count it as worked on, until it ends.

        Raises:
            Refused: 429, the server has its hands full.
        """
        if not self.entered:
            self.service.load.take(self.service.config.max_concurrency)
            self.service.metrics.began()
            self.entered = True


def _is_near(origin: str, host: str) -> bool:
    """Whether a page is on this machine, or comes from this server by its number.

    A name proves nothing: its owner can have it point here (DNS rebinding).
    """
    if origin == "null":
        return False
    try:
        page = urlsplit(origin)
        if page.scheme not in {"http", "https"}:
            return True  # an application, not a page
        name = page.hostname or ""
        if name == "localhost" or name.endswith(".localhost"):
            return True
        return ip_address(name).is_loopback or page.netloc == host
    except ValueError:
        return False


class Load:
    """How many requests are worked on."""

    def __init__(self) -> None:
        self.count = 0

    def take(self, most: int) -> None:
        """Begin with one more.

        Raises:
            Refused: There are too many.
        """
        if self.count >= most:
            raise Refused(
                f"The server works on {most} requests already. Try again in a moment",
                status=429,
                code="server_overloaded",
                type="rate_limit_error",
                retry_after=1.0,
            )
        self.count += 1

    def give_back(self) -> None:
        """Be done with one."""
        self.count -= 1


def request_id(given: bytes) -> str:
    """Return a client's id for a request, if it may stand in headers and logs, else a new one."""
    text = given.decode("latin-1")
    return text if _ID.fullmatch(text) else uuid4().hex
