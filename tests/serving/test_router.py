"""Which deployment answers, and what happens when one fails: told by the keys that arrive."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from ai21_chains import Emulator
from ai21_chains.emulator import Fault
from ai21_chains.emulator.exchange import Request, Response
from ai21_chains.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    InternalServerError,
    RateLimitError,
    StreamInterruptedError,
    UnprocessableEntityError,
)
from ai21_chains.serving import Deployment, ServerConfig
from ai21_chains.serving._refusals import Refused
from ai21_chains.serving._router import Router

ASKED: Any = {"messages": [{"role": "user", "content": "Hi"}]}


class Fleet(Emulator):
    """Servers that are told apart by their keys; each has its own faults."""

    def __init__(self, **faults: Fault | Iterable[Fault]) -> None:
        super().__init__(brain=lambda request: f"Hello from {request['model']}.")
        self.servers: Mapping[str, Emulator] = {
            key: Emulator(
                brain=lambda request: "Hello.", faults=[own] if isinstance(own, Fault) else own
            )
            for key, own in faults.items()
        }
        self.asked: list[str] = []

    def handle(self, request: Request) -> Response:
        key = request.headers["authorization"].removeprefix("Bearer ")
        self.asked.append(key)
        server = self.servers.get(key)
        return server.handle(request) if server else super().handle(request)


class Time:
    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def deployment(key: str, name: str = "m", **settings: Any) -> Deployment:
    return Deployment(**{"name": name, "model": "jamba-mini", "api_key": key, **settings})


def router(
    fleet: Fleet, *deployments: Deployment, time: Time | None = None, **settings: Any
) -> Router:
    config = ServerConfig(deployments=deployments, emulator=fleet, **settings)
    time = time or Time()
    return Router(config, clock=time, sleep=time.sleep)


async def ask(routes: Router, name: str = "m") -> str:
    completion, _ = await routes.complete(name, ASKED)
    return completion["choices"][0]["message"]["content"] or ""


async def streamed(routes: Router, name: str = "m") -> str:
    events = [event async for event in routes.stream(name, ASKED)]
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in events)


ASKERS = pytest.mark.parametrize("asking", [ask, streamed], ids=["whole", "streamed"])


# --- The balance -----------------------------------------------------------------------------


async def test_the_model_is_asked_for_by_its_upstream_name() -> None:
    fleet = Fleet()
    assert await ask(router(fleet, deployment("a"))) == "Hello from jamba-mini."
    assert await streamed(router(fleet, deployment("a"))) == "Hello from jamba-mini."


async def test_deployments_of_one_name_take_turns() -> None:
    fleet = Fleet()
    routes = router(fleet, deployment("a"), deployment("b"))
    for _ in range(12):
        await ask(routes)
    assert Counter(fleet.asked) == {"a": 6, "b": 6}


@pytest.mark.parametrize(
    ("first", "second"), [({"weight": 3}, {}), ({"rpm": 300}, {"rpm": 100})], ids=["weight", "rpm"]
)
async def test_shares_follow_weights_or_limits(first: Any, second: Any) -> None:
    fleet = Fleet()
    routes = router(fleet, deployment("a", **first), deployment("b", **second))
    for _ in range(12):
        await ask(routes)
    assert Counter(fleet.asked) == {"a": 9, "b": 3}


async def test_the_least_busy_is_asked_first() -> None:
    fleet = Fleet()
    routes = router(fleet, deployment("a"), deployment("b"))
    slow = routes.stream("m", ASKED)
    await anext(slow)
    for _ in range(3):
        await ask(routes)
    await slow.aclose()
    assert fleet.asked == ["a", "b", "b", "b"]
    assert [place.in_flight for place in routes.groups["m"].places] == [0, 0]


async def test_a_deployment_that_comes_back_does_not_make_up_for_its_rest() -> None:
    fleet, time = Fleet(a=Fault(status=429)), Time()
    routes = router(fleet, deployment("a"), deployment("b"), time=time)
    for _ in range(9):
        await ask(routes)
    assert fleet.asked == ["a"] + ["b"] * 9
    time.now += 60
    fleet.asked.clear()
    for _ in range(6):
        await ask(routes)
    assert fleet.asked.count("a") <= 4


# --- Limits ----------------------------------------------------------------------------------


async def test_the_limit_of_requests_a_minute_holds() -> None:
    fleet, time = Fleet(), Time()
    routes = router(fleet, deployment("a", rpm=2), time=time)
    await ask(routes)
    time.now += 20
    await ask(routes)
    with pytest.raises(Refused, match="Try again in 40 s") as caught:
        await ask(routes)
    assert (caught.value.status, caught.value.retry_after) == (429, 40)
    time.now += 40
    await ask(routes)
    assert len(fleet.asked) == 3


@ASKERS
async def test_the_limit_of_tokens_a_minute_holds(asking: Any) -> None:
    time = Time()
    routes = router(Fleet(), deployment("a", tpm=5), time=time)
    await asking(routes)
    with pytest.raises(Refused):
        await asking(routes)
    time.now += 61
    await asking(routes)


async def test_a_deployment_at_its_limit_leaves_the_rest_to_others() -> None:
    fleet = Fleet()
    routes = router(fleet, deployment("a", rpm=1), deployment("b"))
    for _ in range(4):
        await ask(routes)
    assert Counter(fleet.asked) == {"a": 1, "b": 3}


async def test_a_name_at_its_limit_falls_back() -> None:
    fleet = Fleet()
    routes = router(
        fleet, deployment("a", rpm=1), deployment("b", name="n"), fallbacks={"m": ("n",)}
    )
    await ask(routes)
    await ask(routes)
    assert fleet.asked == ["a", "b"]


# --- Failures --------------------------------------------------------------------------------


@ASKERS
@pytest.mark.parametrize(
    "fault",
    [Fault(status=429), Fault(status=500), Fault(status=503), Fault(drop=True)],
    ids=["429", "500", "503", "drop"],
)
async def test_a_failure_is_made_good_elsewhere_at_once(fault: Fault, asking: Any) -> None:
    fleet, time = Fleet(a=fault), Time()
    assert await asking(router(fleet, deployment("a"), deployment("b"), time=time))
    assert fleet.asked == ["a", "b"]
    assert sum(time.slept) == 0


@ASKERS
async def test_the_only_deployment_is_asked_again_after_a_while(asking: Any) -> None:
    fleet, time = Fleet(a=Fault(status=500, times=2)), Time()
    await asking(router(fleet, deployment("a"), time=time))
    assert fleet.asked == ["a"] * 3
    assert len(time.slept) == 2
    assert 0 < time.slept[0] <= 0.5 < time.slept[1] <= 1


async def test_the_server_says_how_long_to_wait() -> None:
    fleet, time = Fleet(a=Fault(status=429, headers={"retry-after": "7"})), Time()
    await ask(router(fleet, deployment("a"), time=time))
    assert time.slept == [7]


@ASKERS
async def test_there_is_one_layer_of_retries(asking: Any) -> None:
    fleet = Fleet(a=Fault(status=500, times=None))
    with pytest.raises(InternalServerError):
        await asking(router(fleet, deployment("a", max_retries=2)))
    assert len(fleet.asked) == 3


async def test_the_deadline_ends_the_tries() -> None:
    fleet, time = Fleet(a=Fault(status=429, headers={"retry-after": "30"}, times=None)), Time()
    with pytest.raises(RateLimitError) as caught:
        await ask(router(fleet, deployment("a"), time=time, request_timeout=50))
    assert time.slept == [30]
    assert caught.value.retry_after == 30


@ASKERS
async def test_a_server_that_says_nothing_is_waited_for_until_the_deadline(asking: Any) -> None:
    fleet = Fleet(a=Fault(delay=5.0))
    config = ServerConfig(deployments=(deployment("a"),), emulator=fleet, request_timeout=0.02)
    with pytest.raises(APITimeoutError, match=r"within 0\.02 s"):
        await asking(Router(config))


@pytest.mark.parametrize(
    ("status", "kind"), [(422, UnprocessableEntityError), (400, APIError)], ids=["422", "400"]
)
async def test_the_clients_fault_is_not_tried_again(status: int, kind: type[APIError]) -> None:
    fleet = Fleet(a=Fault(status=status))
    routes = router(
        fleet,
        deployment("a"),
        deployment("b"),
        deployment("c", name="n"),
        fallbacks={"m": ("n",)},
    )
    with pytest.raises(kind):
        await ask(routes)
    assert fleet.asked == ["a"]


async def test_a_bad_key_leaves_the_request_to_the_other_deployment() -> None:
    fleet = Fleet(a=Fault(status=401, times=None))
    routes = router(fleet, deployment("a"), deployment("b"))
    for _ in range(2):
        await ask(routes)
    assert fleet.asked == ["a", "b", "a", "b"] or fleet.asked == ["a", "b", "b"]


async def test_a_bad_key_is_not_tried_twice_for_one_request() -> None:
    fleet = Fleet(a=Fault(status=401, times=None))
    with pytest.raises(AuthenticationError):
        await ask(router(fleet, deployment("a")))
    assert fleet.asked == ["a"]


@ASKERS
async def test_fallbacks_are_tried_in_order(asking: Any) -> None:
    broken = {key: Fault(status=500, times=None) for key in "ab"}
    fleet = Fleet(**broken)
    routes = router(
        fleet,
        deployment("a", max_retries=1),
        deployment("b", name="n", max_retries=0),
        deployment("c", name="o"),
        fallbacks={"m": ("n", "o")},
    )
    await asking(routes)
    assert fleet.asked == ["a", "a", "b", "c"]


async def test_a_stream_that_broke_off_is_not_begun_again() -> None:
    fleet = Fleet(a=Fault(cut_after=400))
    routes = router(fleet, deployment("a"), deployment("b"))
    events: list[Any] = []

    async def listen() -> None:
        async for event in routes.stream("m", ASKED):
            events.append(event)

    with pytest.raises(StreamInterruptedError):
        await listen()
    assert events
    assert fleet.asked == ["a"]
    assert routes.groups["m"].places[0].failures == 1


async def test_the_answering_deployment_is_told() -> None:
    fleet, chosen = Fleet(a=Fault(status=500)), []
    routes = router(fleet, deployment("a"), deployment("b"))
    _ = [event async for event in routes.stream("m", ASKED, chosen=chosen.append)]
    assert [one.api_key.get_secret_value() for one in chosen] == ["b"]
    _, answering = await routes.complete("m", ASKED)
    assert answering in routes.config.deployments


# --- Rest ------------------------------------------------------------------------------------


async def test_a_limited_deployment_rests_as_long_as_the_server_says() -> None:
    fleet, time = Fleet(a=Fault(status=429, headers={"retry-after": "30"})), Time()
    routes = router(fleet, deployment("a"), deployment("b"), time=time)
    for _ in range(5):
        await ask(routes)
    assert fleet.asked == ["a", "b", "b", "b", "b", "b"]
    time.now += 31
    await ask(routes)
    assert fleet.asked[-1] == "a"


async def test_a_deployment_that_fails_again_and_again_rests() -> None:
    fleet, time = Fleet(a=Fault(status=500, times=None)), Time()
    routes = router(fleet, deployment("a"), deployment("b"), time=time, allowed_fails=1)
    for _ in range(8):
        await ask(routes)
    assert fleet.asked.count("a") == 2
    time.now += 6
    await ask(routes)
    await ask(routes)
    assert fleet.asked.count("a") == 3


@pytest.mark.parametrize("status", [401, 403, 422, 400])
async def test_a_deployment_does_not_rest_for_what_it_says_of_a_request(status: int) -> None:
    fleet = Fleet(a=Fault(status=status, times=9))
    routes = router(fleet, deployment("a"), allowed_fails=0)
    for _ in range(9):
        with pytest.raises(APIError):
            await ask(routes)
    assert await ask(routes) == "Hello."


async def test_nobody_is_refused_because_the_only_deployment_rests() -> None:
    fleet = Fleet(a=Fault(status=429, times=3))
    routes = router(fleet, deployment("a", max_retries=0))
    for _ in range(3):
        with pytest.raises(RateLimitError):
            await ask(routes)
    assert await ask(routes) == "Hello."


async def test_failures_are_told() -> None:
    told = []
    config = ServerConfig(
        deployments=(deployment("a"), deployment("b")), emulator=Fleet(a=Fault(drop=True))
    )
    routes = Router(config, failed=lambda one, error: told.append((one.name, type(error))))
    await ask(routes)
    assert told == [("m", APIConnectionError)]


async def test_a_request_that_is_cancelled_is_no_longer_counted() -> None:
    routes = router(Fleet(a=Fault(delay=5.0)), deployment("a"))
    asking = asyncio.create_task(ask(routes))
    await asyncio.sleep(0.01)
    (place,) = routes.groups["m"].places
    assert place.in_flight == 1
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert place.in_flight == 0
