"""The HTTP service: `create` makes the application, `python -m service` runs it."""

from __future__ import annotations

import asyncio
import html
import json
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import prometheus_client as prometheus
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from service.guard import LIMITS, Guard, Limits
from service.models import BATCHES, CLASSES, FEATURES, Model, Store

log = logging.getLogger("service")

LARGEST = 1e6
"""A pixel's largest size, in standard deviations: far from where float32 overflows inside. NaN is
not within it either."""
Pixel = Annotated[float, Field(strict=True, ge=-LARGEST, le=LARGEST)]
Example = Annotated[
    list[Pixel],
    Field(
        min_length=FEATURES,
        max_length=FEATURES,
        description="28 × 28 pixels, row by row, standardized as in training",
    ),
]
Version = Annotated[
    str | None, Field(max_length=32, description="The newest if not given")
]


class One(BaseModel):
    """One image."""

    model_config = ConfigDict(extra="forbid")
    features: Example
    version: Version = None


class Many(BaseModel):
    """Up to 64 images."""

    model_config = ConfigDict(extra="forbid")
    examples: Annotated[list[Example], Field(min_length=1, max_length=BATCHES[-1])]
    version: Version = None


class Prediction(BaseModel):
    """What an image shows."""

    digit: Annotated[int, Field(ge=0, lt=CLASSES)]
    probabilities: Annotated[list[float], Field(min_length=CLASSES, max_length=CLASSES)]


class OneAnswer(Prediction):
    """The answer for one image, and the version that gave it."""

    version: str


class ManyAnswers(BaseModel):
    """The answers in the order of the examples, and the version that gave them."""

    predictions: list[Prediction]
    version: str


class Mistake(BaseModel):
    """One thing that is wrong with a request."""

    where: str
    what: str


class Problem(BaseModel):
    """Why a request has no other answer."""

    detail: str
    mistakes: list[Mistake] = []


class State(BaseModel):
    """How the service is."""

    status: str
    version: str | None = None


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body cannot be read at all"},
    404: {"model": Problem, "description": "There is no such version"},
    408: {"model": Problem, "description": "The request came too slowly"},
    413: {"model": Problem, "description": "The body is too large"},
    422: {"model": Problem, "description": "The body is not what the schema says"},
    500: {"model": Problem, "description": "A mistake in the service"},
    503: {
        "model": Problem,
        "description": "Too busy, or no model yet: see Retry-After",
    },
}


class Metrics:
    """What Prometheus reads; each application has its own."""

    def __init__(self, store: Store, guard: Guard) -> None:
        self.registry = prometheus.CollectorRegistry()
        self.store, self.guard = store, guard

        def named(kind: Any, name: str, text: str, *labels: str) -> Any:
            return kind(f"service_{name}", text, labels, registry=self.registry)

        counter, gauge = prometheus.Counter, prometheus.Gauge
        self.requests = named(
            counter, "requests", "Requests answered", "path", "status"
        )
        self.seconds = named(
            prometheus.Histogram, "seconds", "From a request to its answer", "path"
        )
        self.examples = named(counter, "examples", "Examples predicted", "version")
        self.in_flight = named(gauge, "in_flight", "Predictions asked, not answered")
        self.current = named(gauge, "version", "The newest good version, as a number")
        self.refused = named(
            gauge, "refused_versions", "Newer versions that were refused"
        )
        self.drift = named(
            gauge, "drift", "z of the last 256 examples", "version", "signal"
        )

    def page(self) -> bytes:
        """All metrics as text."""
        self.in_flight.set(self.guard.in_flight)
        self.refused.set(len(self.store.refused))
        self.drift.clear()
        current = self.store.current
        self.current.set(int(current.version) if current else 0)
        for model in self.store.models.values():
            for signal, z in model.drift.z().items():
                self.drift.labels(model.version, signal).set(z)
        return prometheus.generate_latest(self.registry)


class Measured:
    """ASGI middleware: counts and times what `app` answers, under a known path only."""

    def __init__(self, app: Any, metrics: Metrics, paths: set[str]) -> None:
        self.app, self.metrics, self.paths = app, metrics, paths

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start, status = time.perf_counter(), 499  # The client went without an answer.
        # Strangers choose addresses: one label for all that are not ours.
        path = scope["path"] if scope["path"] in self.paths else "other"

        async def noting(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except Exception:
            status = 500  # Which is answered further out.
            raise
        finally:
            self.metrics.requests.labels(path, status).inc()
            self.metrics.seconds.labels(path).observe(time.perf_counter() - start)


def create(folder: Path, limits: Limits = LIMITS, refresh: float = 2.0) -> FastAPI:
    """The application.

    Args:
        folder: Where the versions are; new ones are found while it serves.
        limits: What one client may ask.
        refresh: Seconds between two looks at the folder.

    Returns:
        An ASGI application. `app.state.draining = True` makes `/readyz` say that no more requests
        should be sent; those that come all the same are answered.
    """
    store = Store(folder)
    # JAX uses all cores for one program: a second at the same time would only wait.
    worker = ThreadPoolExecutor(1, "predict")

    async def look() -> None:
        while True:
            await asyncio.sleep(refresh)
            try:
                await asyncio.to_thread(store.refresh)
            except Exception:
                log.exception("the folder of versions cannot be read")

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(store.refresh)
        looking = asyncio.create_task(look())
        yield
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
        worker.shutdown()

    app = FastAPI(
        title="Digits",
        version="1",
        description="Which digit does an image show? The example of a book, not a product.",
        lifespan=life,
        docs_url=None,  # FastAPI's pages load scripts from elsewhere; ours is below.
        redoc_url=None,
    )
    app.state.store, app.state.draining = store, False

    def chosen(version: str | None) -> Model:
        model = store.current
        if model is None:
            wait = {"Retry-After": str(limits.retry_after)}
            raise HTTPException(503, "there is no model yet", wait)
        if version is not None and version not in store.models:
            known = ", ".join(store.models)
            raise HTTPException(404, f"there is no such version; there are {known}")
        return store.models[version] if version is not None else model

    async def predict(model: Model, examples: list[list[float]]) -> list[Prediction]:
        x = np.array(examples, np.float32)
        loop = asyncio.get_running_loop()
        probabilities = await loop.run_in_executor(worker, model, x)
        model.drift.add(x, probabilities)
        metrics.examples.labels(model.version).inc(len(x))
        return [
            Prediction(digit=int(p.argmax()), probabilities=p.tolist())
            for p in probabilities
        ]

    @app.post("/v1/predict", responses=PROBLEMS)
    async def one(request: One) -> OneAnswer:
        """Read one image."""
        model = chosen(request.version)
        [answer] = await predict(model, [request.features])
        return OneAnswer(version=model.version, **answer.model_dump())

    @app.post("/v1/predict/batch", responses=PROBLEMS)
    async def many(request: Many) -> ManyAnswers:
        """Read up to 64 images at a time: cheaper than one by one."""
        model = chosen(request.version)
        answers = await predict(model, request.examples)
        return ManyAnswers(version=model.version, predictions=answers)

    @app.get("/healthz")
    async def healthy() -> State:
        """Is the process alive? If not, start it again."""
        return State(status="alive")

    @app.get("/readyz", responses={503: {"model": State}})
    async def ready(response: Response) -> State:
        """May requests be sent here?"""
        model = store.current
        status = "ready" if model else "no model"
        if app.state.draining:
            status = "draining"
        response.status_code = 200 if status == "ready" else 503
        return State(status=status, version=model.version if model else None)

    @app.get("/metrics", response_class=Response, include_in_schema=False)
    async def measured() -> Response:
        """Numbers for Prometheus."""
        return Response(metrics.page(), media_type=prometheus.CONTENT_TYPE_LATEST)

    @app.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> str:
        """The OpenAPI description as a page that needs no network."""
        return describe(app.openapi())

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        # Not what was sent: it may be long, secret, or NaN, which JSON cannot say.
        mistakes = [
            Mistake(where=".".join(map(str, found["loc"])), what=found["msg"])
            for found in error.errors()[:10]
        ]
        problem = Problem(detail="the request is not valid", mistakes=mistakes)
        return JSONResponse(problem.model_dump(), 422)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        # The server's log has the traceback; the client has no use for it.
        return JSONResponse({"detail": "a mistake in the service"}, 500)

    guard = Guard(None, limits)
    metrics = Metrics(store, guard)
    paths = {getattr(route, "path", "") for route in app.routes}
    app.add_middleware(_as(guard))
    app.add_middleware(Measured, metrics=metrics, paths=paths)
    return app


def _as(guard: Guard) -> Any:
    """Starlette makes a middleware itself; `guard` is one that the metrics know already."""

    def make(app: Any) -> Guard:
        guard.app = app
        return guard

    return make


def describe(schema: dict[str, Any]) -> str:
    """An OpenAPI description as one HTML page."""
    parts = [f"<p>{html.escape(schema['info']['description'])}</p>"]
    for path, methods in schema["paths"].items():
        for method, about in methods.items():
            parts.append(f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>")
            parts.append(f"<p>{html.escape(about.get('description', ''))}</p><ul>")
            for status, answer in about["responses"].items():
                text = html.escape(answer["description"])
                parts.append(f"<li><code>{status}</code> {text}</li>")
            parts.append("</ul>")
    whole = html.escape(json.dumps(schema["components"]["schemas"], indent=1))
    title = html.escape(schema["info"]["title"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width">'
        "<style>:root{color-scheme:light dark}body{font:1rem/1.5 sans-serif;max-width:48rem;"
        "margin:2rem auto;padding:0 1rem}</style>"
        f"<h1>{title}</h1>{''.join(parts)}"
        f"<details><summary>Schemas</summary><pre>{whole}</pre></details>"
        '<p>All of it for programs: <a href="openapi.json">openapi.json</a></p></html>'
    )
