"""What Prometheus is told: requests, tokens, times and failures, by route, model and status.

Labels have few values whatever clients send: routes are those of the application, and models those
that are served.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

if TYPE_CHECKING:
    from ai21_chains.errors import APIError
    from ai21_chains.serving._visits import Visit
    from ai21_chains.serving.config import Deployment

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """The counters of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "ai21_chains_requests",
            "Requests answered.",
            ("route", "model", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "ai21_chains_request_seconds",
            "Seconds from a request to the end of its answer.",
            ("route", "model"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._first = Histogram(
            "ai21_chains_first_token_seconds",
            "Seconds from a request to the first piece of a streamed answer.",
            ("model",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._tokens = Counter(
            "ai21_chains_tokens",
            "Tokens that models read (prompt) and wrote (completion).",
            ("model", "kind"),
            registry=self.registry,
        )
        self._upstream = Counter(
            "ai21_chains_upstream_errors",
            "Failures of deployments, also of those that a further try made good.",
            ("model", "error"),
            registry=self.registry,
        )
        self._in_flight = Gauge(
            "ai21_chains_requests_in_flight",
            "Requests that are worked on.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )

    def upstream_failed(self, deployment: Deployment, error: APIError) -> None:
        """Count a failure of a deployment."""
        status = error.status_code
        kind = str(status) if status and status >= 400 else type(error).__name__
        self._upstream.labels(deployment.name, kind).inc()

    def began(self) -> None:
        """Count a request that is worked on."""
        self._in_flight.inc()

    def ended(self) -> None:
        """Count a request that is no longer worked on."""
        self._in_flight.dec()

    def visited(self, visit: Visit, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(visit.route, visit.model, str(visit.status)).inc()
        self._seconds.labels(visit.route, visit.model).observe(seconds)
        if visit.first_piece is not None:
            self._first.labels(visit.model).observe(visit.first_piece)
        if visit.prompt_tokens or visit.completion_tokens:
            self._tokens.labels(visit.model, "prompt").inc(visit.prompt_tokens)
            self._tokens.labels(visit.model, "completion").inc(visit.completion_tokens)

    def page(self) -> bytes:
        """Return the figures in Prometheus's text format, those of all workers together."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
