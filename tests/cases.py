"""Many cases in one test: pytest takes ten milliseconds for a test, whatever the test does."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeVar

import pytest

Test = TypeVar("Test", bound=Callable[..., Any])
_Param = type(pytest.param())


def each(
    names: str | Sequence[str],
    cases: Iterable[Any],
    ids: Iterable[str] | None = None,
    **made: Callable[[], AbstractContextManager[Any]],
) -> Callable[[Test], Test]:
    """Do as `pytest.mark.parametrize`, which has the same arguments, but within one test.

    The cases share the test's fixtures; `made` are arguments that are made anew for each case. A
    failure ends the test, and names its case.
    """
    arguments = names.replace(",", " ").split() if isinstance(names, str) else list(names)
    given = list(cases)
    assert given, "There is no case."
    labels = [_label(one) for one in given] if ids is None else list(ids)
    each_case = [
        (label, dict(zip(arguments, _row(one, len(arguments)), strict=True)))
        for label, one in zip(labels, given, strict=True)
    ]

    def decorate(test: Any) -> Any:
        if inspect.iscoroutinefunction(test):

            @functools.wraps(test)
            async def all_cases(**fixtures: Any) -> None:
                for label, case in each_case:
                    with _named(label), _all_of(made) as fresh:
                        await test(**fixtures, **case, **fresh)

        else:

            @functools.wraps(test)
            def all_cases(**fixtures: Any) -> None:
                for label, case in each_case:
                    with _named(label), _all_of(made) as fresh:
                        test(**fixtures, **case, **fresh)

        signature = inspect.signature(test)
        ours = {*arguments, *made}
        assert ours <= set(signature.parameters), f"The test takes not all of {sorted(ours)}."
        fixtures = [one for one in signature.parameters.values() if one.name not in ours]
        all_cases.__signature__ = signature.replace(parameters=fixtures)  # type: ignore[attr-defined]
        return all_cases

    return decorate


def _row(case: Any, length: int) -> Sequence[Any]:
    if isinstance(case, _Param):
        return case.values
    return case if length > 1 else (case,)


def _label(case: Any) -> str:
    if isinstance(case, _Param) and case.id:
        return case.id
    return getattr(case, "__name__", None) or repr(case)[:200]


@contextmanager
def _all_of(made: dict[str, Callable[[], AbstractContextManager[Any]]]) -> Iterator[dict[str, Any]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(make()) for name, make in made.items()}


@contextmanager
def _named(case: str) -> Iterator[None]:
    try:
        yield
    except BaseException as problem:  # pytest's own failures are no Exceptions
        problem.add_note(f"in the case {case}")
        raise
