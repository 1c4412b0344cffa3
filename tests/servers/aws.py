"""What Amazon Bedrock checks and answers, as scripts for a scripted server."""

from __future__ import annotations

import json
from base64 import b64encode
from binascii import crc32
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from tests.servers.scripted import Received, Script, Step, answer, completion, every_byte, stream

MINI = "ai21.jamba-1-5-mini-v1:0"
STREAMED = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\n"
    b"x-amzn-bedrock-content-type: application/json\r\n"
)


# --- Event streams ---------------------------------------------------------------------------


def frame(payload: bytes, **headers: str) -> bytes:
    """A frame of an event stream; a header's underscores are hyphens, its first one a colon."""
    named = {f":{name.replace('_', '-')}": text.encode() for name, text in headers.items()}
    head = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + len(text).to_bytes(2, "big") + text
        for name, text in named.items()
    )
    prelude = (16 + len(head) + len(payload)).to_bytes(4, "big") + len(head).to_bytes(4, "big")
    prelude += crc32(prelude).to_bytes(4, "big")
    framed = prelude + head + payload
    return framed + crc32(framed).to_bytes(4, "big")


def chunk(event: Mapping[str, Any]) -> bytes:
    data = b64encode(json.dumps(event, separators=(",", ":")).encode()).decode()
    payload = json.dumps({"bytes": data, "p": "abcdefghijk"}).encode()
    return frame(payload, event_type="chunk", content_type="application/json", message_type="event")


def exception(kind: str, message: str) -> bytes:
    payload = json.dumps({"message": message}).encode()
    return frame(payload, exception_type=kind, message_type="exception")


def delta(finish_reason: str | None = None, **said: Any) -> bytes:
    return chunk(
        {
            "id": "chat-ae86",
            "choices": [{"index": 0, "delta": said, "finish_reason": finish_reason}],
        }
    )


METRICS = {
    "inputTokenCount": 63,
    "outputTokenCount": 263,
    "invocationLatency": 5330,
    "firstByteLatency": 122,
}
# As it was captured: usage from the first chunk on, a last one with a finish reason, and metrics.
HELLO = (
    chunk(
        {
            "id": "cmpl-981f7f17",
            "choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}],
            "usage": {"prompt_tokens": 44, "total_tokens": 44, "completion_tokens": 0},
        }
    ),
    delta(content="Hel"),
    chunk(
        {
            "id": "cmpl-981f7f17",
            "choices": [
                {
                    "index": 0,
                    "delta": {"content": "lo"},
                    "finish_reason": "stop",
                    "stop_reason": "<|eom|>",
                }
            ],
            "usage": {"prompt_tokens": 144, "total_tokens": 158, "completion_tokens": 14},
            "meta": {"requestDurationMillis": 146},
        }
    ),
    chunk({"amazon-bedrock-invocationMetrics": METRICS}),
)


# --- Answers ---------------------------------------------------------------------------------


def refuses(status: str, kind: str, message: str, key: str = "message") -> list[Step]:
    name = f"x-amzn-errortype: {kind}:http://internal.amazon.com/coral/com.amazon.bedrock/"
    more = ["content-type: application/json", name, "x-amzn-requestid: req-1", "retry-after: 0"]
    return answer({key: message}, status, more)


@dataclass
class Account:
    """Checks each request as Bedrock does: who signed it, whether that is right, which model."""

    region: str = "us-east-1"
    keys: dict[str, ReadOnlyCredentials] = field(default_factory=dict)
    expired: set[str] = field(default_factory=set)
    models: tuple[str, ...] = (MINI,)
    whole: object = field(default_factory=completion)
    frames: tuple[bytes, ...] = HELLO
    by_byte: bool = False

    def add(self, access_key: str, secret_key: str, token: str | None = None) -> None:
        self.keys[access_key] = ReadOnlyCredentials(access_key, secret_key, token)

    def __call__(self, request: Received) -> Script:
        if problem := self._problem(request):
            return problem
        _, start, model, verb = request.target.split("/")
        assert (request.method, start) == ("POST", "model")
        assert not {"model", "stream"} & request.body.keys()
        if unquote(model) not in self.models:
            return refuses(
                "400 Bad Request",
                "ValidationException",
                "The provided model identifier is invalid.",
            )
        if verb == "invoke":
            return answer(self.whole)
        assert verb == "invoke-with-response-stream"
        pieces = every_byte(*self.frames) if self.by_byte else self.frames
        return stream(*pieces, head=STREAMED)

    def _problem(self, request: Received) -> Script | None:
        [authorization] = request.header("authorization")
        scheme, _, rest = authorization.partition(" ")
        assert scheme == "AWS4-HMAC-SHA256"
        parts = dict(part.split("=", 1) for part in rest.split(", "))
        access_key, _, region, service, _ = parts["Credential"].split("/")
        known = self.keys.get(access_key)
        if known is None:
            return refuses(
                "403 Forbidden",
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            )
        if access_key in self.expired:
            return refuses(
                "403 Forbidden",
                "ExpiredTokenException",
                "The security token included in the request is expired",
            )
        wanted = _signature(request, parts["SignedHeaders"].split(";"), known, region)
        token = (request.header("x-amz-security-token") or [None])[0]
        if (service, region, token) != ("bedrock", self.region, known.token):
            return refuses("403 Forbidden", "InvalidSignatureException", "Scope is wrong.")
        if parts["Signature"] != wanted.signature:
            return refuses(
                "403 Forbidden",
                "InvalidSignatureException",
                "The request signature we calculated does not match. The canonical string "
                f"should have been {wanted.canonical}",
            )
        return None


@dataclass
class _Wanted:
    signature: str
    canonical: str


def _signature(
    request: Received, signed: list[str], keys: ReadOnlyCredentials, region: str
) -> _Wanted:
    """Sign the request as it arrived, with what the account knows of its sender."""
    assert {"host", "x-amz-date"} <= set(signed)
    [server] = request.header("host")
    seen = AWSRequest(
        request.method,
        f"http://{server}{request.target}",
        headers={name: request.header(name)[0] for name in signed},
        data=request.content,
    )
    seen.context["timestamp"] = request.header("x-amz-date")[0]
    auth = SigV4Auth(keys, "bedrock", region)
    canonical = auth.canonical_request(seen)
    return _Wanted(auth.signature(auth.string_to_sign(seen, canonical), seen), canonical)


Answering = Callable[[Received], Script]
