"""Jamba on Google Vertex AI: raw predictions, with Google's credentials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from functools import cached_property
from threading import Lock
from typing import Any, ClassVar, NamedTuple
from urllib.parse import quote

from ai21_chains._extras import import_extra
from ai21_chains._host import Host
from ai21_chains._protocol import quote as shortened
from ai21_chains._wire import ChatRequest, JSONObject
from ai21_chains.errors import (
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    MissingAPIKeyError,
    NotFoundError,
    PermissionDeniedError,
)
from ai21_chains.hosts._checks import check, keep_address, settings

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class _Asking(NamedTuple):
    """Who is asking: the headers that say so, and the project that pays."""

    project: str
    headers: Mapping[str, str]


@settings
class Vertex(Host):
    """Vertex AI's raw predictions; needs `pip install "ai21-chains[vertex]"`.

    `model` is an id such as `jamba-1.5-mini@001`. Credentials are Google's application default
    ones: `GOOGLE_APPLICATION_CREDENTIALS`, `gcloud auth application-default login`, or the service
    account of the machine. A token that is about to expire is renewed, in async code in a thread
    (google-auth's own way to renew tokens blocks).

    How sure this is: addresses and bodies are those of AI21's own SDK (high): AI21's chat without
    `model` and `stream`. That a location may be `global` is Google's rule for other publishers'
    models. Nothing was tried against Google.

    Args:
        project: The project. Default: that of the credentials, or `GOOGLE_CLOUD_PROJECT`.
        location: The region, or `global`.
        google_credentials: Credentials of google-auth to use instead of the default ones.
        endpoint_id: The id of a dedicated endpoint of the project's, instead of AI21's models.
        endpoint: Address of the service, if it is not Google's public one.

    Raises:
        ConfigurationError: An argument is not what it should be.

    Example:
        >>> Vertex(project="team-a", location="europe-west4").location
        'europe-west4'
    """

    name: ClassVar[str] = "Google Vertex AI"
    place: ClassVar[str] = "location"
    personal: ClassVar[tuple[str, ...]] = ("google_credentials",)
    hints: ClassVar[Mapping[type[APIStatusError], str]] = {
        AuthenticationError: (
            "Google did not take the token: check the credentials "
            "(gcloud auth application-default login, GOOGLE_APPLICATION_CREDENTIALS)"
        ),
        PermissionDeniedError: (
            "The credentials need the role Vertex AI User (aiplatform.endpoints.predict) in the "
            "project, and the project the model's terms accepted in Model Garden"
        ),
        NotFoundError: (
            "Check model (ids look like 'jamba-1.5-mini@001'), project and location: not each "
            "location has each model"
        ),
    }

    project: str | None = None
    location: str = "us-central1"
    google_credentials: Any = field(default=None, repr=False)
    endpoint_id: str | None = None
    endpoint: str | None = None

    def __post_init__(self) -> None:
        """Check what becomes a part of the address."""
        check(self, "project", r"[a-z0-9.:-]+", "my-project-123")
        check(self, "location", r"[a-z]+(-[a-z]+)*[0-9]*", "us-central1")
        check(self, "endpoint_id", r"[a-z0-9-]+", "1234567890")
        if self.endpoint is not None:
            keep_address(self, "endpoint", "https://us-central1-aiplatform.googleapis.com")

    def credentials(self) -> _Asking:
        """Return the token as of now, renewed if it is about to expire."""
        found, project = self._found
        with self._renewing:
            if not found.valid:
                self._renew(found)
        headers: dict[str, str] = {}
        found.apply(headers)
        return _Asking(project, {name.title(): text for name, text in headers.items()})

    async def acredentials(self) -> _Asking:
        """Async form of `credentials`."""
        known = self.__dict__.get("_found")
        if known and known[0].valid and not self._renewing.locked():
            return self.credentials()
        asking: _Asking = await super().acredentials()
        return asking

    def url(self, body: ChatRequest, credentials: _Asking) -> str:
        """Return the address of the model, or of the endpoint."""
        prefix = "" if self.location == "global" else f"{self.location}-"
        server = self.endpoint or f"https://{prefix}aiplatform.googleapis.com"
        what = f"publishers/ai21/models/{quote(body['model'], safe='@')}"
        if self.endpoint_id is not None:
            what = f"endpoints/{self.endpoint_id}"
        verb = "streamRawPredict" if body.get("stream") else "rawPredict"
        project = f"projects/{credentials.project}/locations/{self.location}"
        return f"{server}/v1/{project}/{what}:{verb}"

    def headers(self, url: str, content: bytes, credentials: _Asking) -> Mapping[str, str]:
        """Return the token, and whose quota it is if that is another project's."""
        return credentials.headers

    def body(self, body: ChatRequest) -> JSONObject:
        """Return the request without what its address says."""
        return {name: value for name, value in body.items() if name not in ("model", "stream")}

    def _renew(self, found: Any) -> None:
        transport = import_extra("google.auth.transport.requests", "Vertex", "vertex")
        try:
            found.refresh(transport.Request())
        except import_extra("google.auth.exceptions", "Vertex", "vertex").GoogleAuthError as error:
            raise _refused(error) from error

    @cached_property
    def _renewing(self) -> Any:
        return Lock()

    @cached_property
    def _found(self) -> tuple[Any, str]:
        """The credentials, and the project."""
        auth = import_extra("google.auth", "Vertex", "vertex")
        found, project = self.google_credentials, None
        try:
            if found is None:
                found, project = auth.default(scopes=[_SCOPE])
        except auth.exceptions.GoogleAuthError as error:
            raise _refused(error) from error
        project = self.project or project or getattr(found, "project_id", None)
        if not project:
            raise ConfigurationError(
                "Vertex: there is no project: pass project=…, or set GOOGLE_CLOUD_PROJECT"
            )
        return found, project


def _refused(error: Exception) -> MissingAPIKeyError:
    words = shortened(str(error.args[0] if error.args else error))
    return MissingAPIKeyError(
        f"Google's credentials for Vertex AI cannot be had: {words.rstrip('.')}. Try "
        "`gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"
    )
