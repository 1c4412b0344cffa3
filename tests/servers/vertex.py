"""What Google's token server and Vertex AI check and answer, as scripts for scripted servers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

from tests.servers.scripted import (
    DONE,
    ROLE,
    STOP,
    Received,
    Script,
    Step,
    answer,
    completion,
    event,
    stream,
)

MINI = "jamba-1.5-mini@001"
ADDRESS = re.compile(
    r"/v1/projects/([^/]+)/locations/([^/]+)/(publishers/ai21/models|endpoints)/([^/:]+)"
    r":(rawPredict|streamRawPredict)"
)
# The example of Google's sample answers, with usage.
TOOL_CALL = completion(
    " Sure, let me check that for you.",
    "stop",
    tool_calls=[
        {
            "id": "b5cef16b-5946-4937-b9d5-beeaea871e77",
            "type": "function",
            "function": {"name": "look_up", "arguments": '{"word": "Jamba"}'},
        }
    ],
)


def refuses(status: str, name: str, message: str) -> list[Step]:
    code = int(status.split()[0])
    error = {"error": {"code": code, "message": message, "status": name}}
    return answer(error, status, ["content-type: application/json", "retry-after: 0"])


def service_account(token_uri: str) -> tuple[dict[str, str], bytes]:
    """A service account's key file, and the public key that Google would have of it."""
    # google-auth reads it for each credentials, which takes 80 ms with twice as many bits.
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    info = {
        "type": "service_account",
        "project_id": "project-of-the-key",
        "private_key_id": "key-1",
        "private_key": private.decode(),
        "client_email": "robot@project-of-the-key.iam.gserviceaccount.com",
        "token_uri": token_uri,
    }
    return info, public


@dataclass
class Google:
    """Gives tokens for the assertions of one service account, and answers requests with them."""

    lifetime: int = 3600
    public: bytes = b""
    issued: list[str] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    models: tuple[str, ...] = (MINI,)
    projects: tuple[str, ...] = ("project-of-the-key",)
    locations: tuple[str, ...] = ("us-central1",)
    whole: object = field(default_factory=completion)

    def __call__(self, request: Received) -> Script:
        return self._token(request) if request.target == "/token" else self._predict(request)

    def _token(self, request: Received) -> Script:
        [assertion] = parse_qs(request.content.decode())["assertion"]
        try:
            claims = jwt.decode(assertion, certs=self.public)
        except ValueError:
            wrong = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
            return answer(wrong, "400 Bad Request")
        assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
        self.issued.append(f"ya29.token-number-{len(self.issued) + 1}")
        self.taken.add(self.issued[-1])
        token: dict[str, Any] = {"access_token": self.issued[-1], "token_type": "Bearer"}
        return answer({**token, "expires_in": self.lifetime})

    def _predict(self, request: Received) -> Script:
        if request.key not in self.taken:
            words = f"Request had invalid authentication credentials: {request.key}"
            return refuses("401 Unauthorized", "UNAUTHENTICATED", words)
        found = ADDRESS.fullmatch(request.target)
        assert found is not None, request.target
        project, location, _, model, verb = found.groups()
        if project not in self.projects:
            words = "Permission 'aiplatform.endpoints.predict' denied on resource"
            return refuses("403 Forbidden", "PERMISSION_DENIED", words)
        if location not in self.locations or model not in self.models:
            words = f"Publisher Model `projects/{project}/…/{model}` was not found."
            return refuses("404 Not Found", "NOT_FOUND", words)
        assert not {"model", "stream"} & json.loads(request.content).keys()
        if verb == "rawPredict":
            return answer(self.whole)
        return stream(ROLE, event("Hel"), event("lo"), STOP, DONE)
