"""Maestro's runs (AI21 API reference, Maestro; Assistants, run).

What AI21 does not document is the emulator's own: the wording of refusals, what scores a
requirement, and `finish_reason`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any

from .brains import Reply
from .chat import MODELS, UNSUPPORTED_MODEL
from .exchange import Request, Response
from .forms import quoted
from .library import search
from .memory import forget
from .routes import FORBIDDEN, Routes, json_answer, refusal
from .validation import (
    ByKind,
    Error,
    ListOf,
    Location,
    Number,
    Object,
    OneOf,
    boolean,
    faults_of,
    mapping,
    string,
)

if TYPE_CHECKING:
    from .core import Emulator

OTHER_MODELS = (
    "claude-3.5-sonnet",
    "claude-3.7-sonnet",
    "gemini-2.5-pro",
    "gpt-4.1-large",
    "gpt-4.1-mini",
    "gpt-4o",
)
"""Models of others that Maestro's documentation names."""

LANGUAGES = (
    "arabic",
    "dutch",
    "english",
    "french",
    "german",
    "hebrew",
    "italian",
    "portuguese",
    "spanish",
    "unset",
)
MOST_REQUIREMENTS = 10

TURN = Object({"role": OneOf(("user", "assistant")), "content": string}, {})


def text_or_turns(value: Any, loc: Location) -> Iterator[Error]:
    """A string, or a list of turns with `role` = "user" or "assistant" and `content`."""
    if not isinstance(value, str):
        yield from ListOf(TURN)(value, loc)


REQUIREMENT = Object({"name": string, "description": string}, {"is_mandatory": boolean})
FUNCTION = Object({"name": string, "description": string, "parameters": mapping}, {})
ENDPOINT = Object({"url": string}, {"headers": mapping})
HTTP = Object({"function": FUNCTION, "endpoint": ENDPOINT}, {})
MCP = Object(
    {},
    {
        "server_label": string,
        "server_url": string,
        "headers": mapping,
        "allowed_tools": ListOf(string),
        "mcp_id": string,
    },
)
FILE_SEARCH = Object(
    {},
    {
        "labels": ListOf(string),
        "labels_filter_mode": OneOf(("AND", "OR")),
        "labels_filter": mapping,
        "file_ids": ListOf(string),
        "path": string,
        "retrieval_strategy": OneOf(("segments", "default", "add_neighbors", "full_doc")),
        "max_neighbors": Number(whole=True),
        "retrieval_similarity_threshold": Number(),
        "hybrid_search_alpha": Number(),
        "use_two_step_embedders": boolean,
        "response_language": OneOf(LANGUAGES),
    },
)
WEB_SEARCH = Object(
    {},
    {
        "urls": ListOf(string),
        "fallback_to_web": boolean,
        "query_suffix": string,
        "rephrase_query": boolean,
        "use_cached_pages": boolean,
    },
)
TOOL = ByKind(
    {
        "http": ("HttpTool", HTTP),
        "mcp": ("McpTool", MCP),
        "file_search": ("FileSearch", FILE_SEARCH),
        "web_search": ("WebSearch", WEB_SEARCH),
    },
    field="type",
)
INCLUDE = ListOf(OneOf(("data_sources", "requirements_result")))
LANGUAGE = OneOf(LANGUAGES)
RUN = Object(
    {"input": text_or_turns},
    {
        "system_prompt": string,
        "requirements": ListOf(REQUIREMENT),
        "tools": ListOf(TOOL),
        "models": ListOf(string),
        "budget": OneOf(("low", "medium", "high")),
        "include": INCLUDE,
        "output_type": mapping,
        "response_language": LANGUAGE,
    },
)
AGENT_RUN = Object(
    {"input": ListOf(TURN)},
    {
        "system_prompt": string,
        "include": INCLUDE,
        "output_type": mapping,
        "response_language": LANGUAGE,
    },
)


@dataclass
class Run:
    """A run.

    Attributes:
        end: The run as it is shown when it has ended.
        looks: How often it is still to be seen in progress.
    """

    end: Mapping[str, Any]
    looks: int

    @property
    def has_ended(self) -> bool:
        """Whether it has been seen in progress often enough."""
        return not self.looks


class Runs:
    """The runs of one emulator.

    Attributes:
        most: How many are kept; see `memory.forget`.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._runs: dict[str, Run] = {}
        self.most = 10_000

    def start(self, run: Mapping[str, Any], looks: int) -> Mapping[str, Any]:
        """Keep a run, and return it as it is shown at first: in progress."""
        with self._lock:
            forget(self._runs, self.most - 1, lambda one: one.has_ended)
            self._runs[run["id"]] = Run(run, looks)
        return _in_progress(run)

    def look(self, run_id: str) -> Mapping[str, Any] | None:
        """Return a run as it is now, or None if there is none."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is None:
                return None
            if run.has_ended:
                return run.end
            run.looks -= 1
            return _in_progress(run.end)


def _in_progress(run: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**dict.fromkeys(run), "id": run["id"], "status": "in_progress"}


def create_run(emulator: Emulator, request: Request) -> Response:
    """Start a run: `file_search` finds in the library, other tools are not called."""
    if not emulator.knows(request):
        return FORBIDDEN
    if faults := faults_of(request.body, RUN):
        return refusal(422, faults)
    body = request.json
    if detail := _broken_rule(body):
        return refusal(422, detail)
    return _started(emulator, request, _searched(emulator, request))


def run_agent(emulator: Emulator, request: Request, assistant_id: str) -> Response:
    """Start a run of an agent; there is one of any id, without settings of its own."""
    if not emulator.knows(request):
        return FORBIDDEN
    if faults := faults_of(request.body, AGENT_RUN):
        return refusal(422, faults)
    return _started(emulator, request, None)


def get_run(emulator: Emulator, request: Request, run_id: str) -> Response:
    """Look at a run: `Emulator(pending_looks=…)` says how often it is in progress."""
    if not emulator.knows(request):
        return FORBIDDEN
    run = emulator.state(Runs).look(run_id)
    return refusal(404, "Not Found") if run is None else json_answer(run)


def at_most_ten_requirements(body: Mapping[str, Any]) -> str | None:
    """A run has at most ten requirements."""
    if len(body.get("requirements") or ()) > MOST_REQUIREMENTS:
        return f"requirements has more than {MOST_REQUIREMENTS} items"
    return None


def one_search_of_a_kind(body: Mapping[str, Any]) -> str | None:
    """A run has at most one `file_search` and one `web_search`."""
    kinds = [tool["type"] for tool in body.get("tools") or ()]
    for kind in ("file_search", "web_search"):
        if kinds.count(kind) > 1:
            return f"tools has more than one {kind}"
    return None


def known_models_only(body: Mapping[str, Any]) -> str | None:
    """A run's models are Jamba models, or those of others that Maestro's documentation names."""
    known = {*MODELS["2026"], *OTHER_MODELS}
    return None if known.issuperset(body.get("models") or ()) else UNSUPPORTED_MODEL


# AI21 documents these rules, not the texts: the wording is the emulator's.
RULES = (at_most_ten_requirements, one_search_of_a_kind, known_models_only)


def _broken_rule(body: Mapping[str, Any]) -> str | None:
    return next((text for text in (rule(body) for rule in RULES) if text), None)


def _searched(emulator: Emulator, request: Request) -> list[dict[str, Any]] | None:
    """Return what `file_search` finds for the last turn, or None if the run has no such tool."""
    body = request.json
    tool = next((one for one in body.get("tools") or () if one["type"] == "file_search"), None)
    if tool is None:
        return None
    said = body["input"]
    query = said if isinstance(said, str) else said[-1]["content"] if said else ""
    asked = {"query": query, "labels": tool.get("labels"), "path": tool.get("path")}
    asked["fileIds"] = tool.get("file_ids")
    answer = search(emulator, replace(request, body=json.dumps(asked).encode()))
    return [
        {
            "text": one["text"],
            "file_id": one["fileId"],
            "file_name": one["fileName"],
            "score": one["score"],
            "order": one["order"],
        }
        for one in json.loads(answer.body)["results"]
    ]


def _started(emulator: Emulator, request: Request, found: list[dict[str, Any]] | None) -> Response:
    body = request.json
    chat = _as_chat(body)
    if found:
        documents = [(one["text"], {"title": one["file_name"]}) for one in found]
        chat["documents"] = [{"content": text, "metadata": meta} for text, meta in documents]
    run = _ended(str(emulator.new_id()), emulator.ask(chat), body, found)
    return json_answer(emulator.state(Runs).start(run, emulator.pending_looks))


def _as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run as a chat request, which brains understand."""
    said = body["input"]
    turns = [{"role": "user", "content": said}] if isinstance(said, str) else list(said)
    request: dict[str, Any] = {"model": (body.get("models") or ["jamba-mini"])[0]}
    system = [body["system_prompt"]] if body.get("system_prompt") else []
    system += [f"Requirement: {one['description']}" for one in body.get("requirements") or ()]
    if schema := body.get("output_type"):
        request["response_format"] = {"type": "json_object"}
        system.append(f"Answer with JSON that is valid against this schema:\n{json.dumps(schema)}")
    if system:
        turns.insert(0, {"role": "system", "content": "\n\n".join(system)})
    return {**request, "messages": turns}


def _ended(
    run_id: str, reply: Reply, body: Mapping[str, Any], found: list[dict[str, Any]] | None
) -> dict[str, Any]:
    """Return a run as it is at its end.

    A brain decides that a run fails, or waits for an action, by the finish reason of its reply.
    """
    run: dict[str, Any] = {"id": run_id, "status": reply.finish_reason, "result": None}
    run |= {"data_sources": None, "requirements_result": None, "error": None}
    if run["status"] == "failed":
        return {**run, "error": {"message": reply.content or "The run failed."}}
    if run["status"] == "requires_action":
        return run
    text = reply.content or ""
    try:
        result = json.loads(text) if body.get("output_type") else text
    except ValueError:
        error = {"message": "The result does not fit output_type."}
        return {**run, "status": "failed", "error": error}
    run |= {"status": "completed", "result": result}
    wanted = body.get("include") or ()
    if "data_sources" in wanted:
        run["data_sources"] = {"file_search": found, "web_search": None, "tool_calls": None}
    if "requirements_result" in wanted and body.get("requirements"):
        run["requirements_result"] = _scores(text, body["requirements"])
    return run


def _scores(text: str, requirements: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Score an answer: of a requirement it must have the words that stand in quotation marks."""
    scored = [_scored(text, requirement) for requirement in requirements]
    failed = any(one["is_mandatory"] and one["score"] < 1 for one in scored)
    mean = sum(one["score"] for one in scored) / len(scored)
    reason = "requirements_met" if mean == 1 else "requirements_not_met"
    return {"score": 0.0 if failed else mean, "finish_reason": reason, "requirements": scored}


def _scored(text: str, requirement: Mapping[str, Any]) -> dict[str, Any]:
    wanted = quoted(requirement["description"])
    missing = [words for words in wanted if words.lower() not in text.lower()]
    return {
        "name": requirement["name"],
        "description": requirement["description"],
        "is_mandatory": bool(requirement.get("is_mandatory")),
        "score": 1 - len(missing) / len(wanted) if wanted else 1.0,
        "reason": f"The answer lacks {', '.join(missing)}." if missing else None,
    }


ROUTES: Routes = {
    "/maestro/runs": {"POST": create_run},
    "/maestro/runs/{run_id}": {"GET": get_run},
    "/assistants/{assistant_id}/run": {"POST": run_agent},
}
BODIES = {"POST /maestro/runs": RUN, "POST /assistants/{assistant_id}/run": AGENT_RUN}
