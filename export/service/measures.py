"""What the service counts, in Prometheus' words; a registry of its own, so that two services in one process do not mix."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
IMAGES = (1, 2, 4, 8, 16, 32, 64)


class Measures:
    """Counters of one service.

    Attributes:
        requests: By route and status.
        seconds: How long requests took, by route.
        images: Images answered, by model.
        batches: Images of the batches that were run, by model.
        refused: Requests refused, by status.
        waiting: Images that are decoded, wait or are run, by model.
        model: 1 for each model that is served, with the sum of its file.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("medzoo_requests", "Requests answered", ("route", "status"), **own)
        self.seconds = Histogram(
            "medzoo_request_seconds", "Seconds of a request", ("route",), buckets=SECONDS, registry=self.registry
        )
        self.images = Counter("medzoo_images", "Images answered", ("model",), **own)
        self.batches = Histogram("medzoo_batch_images", "Images of a batch", ("model",), buckets=IMAGES, **own)
        self.refused = Counter("medzoo_refused", "Requests refused", ("status",), **own)
        self.waiting = Gauge("medzoo_waiting_images", "Images decoded, waiting or run", ("model",), **own)
        self.model = Gauge("medzoo_model", "A model that is served", ("model", "sha256", "version"), **own)

    def text(self) -> bytes:
        """Return all of them as Prometheus reads them."""
        return generate_latest(self.registry)
