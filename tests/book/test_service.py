"""The service: whatever comes in has its status, and what was accepted has its answer."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import logging
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import jax
import jax.numpy as jnp
import jsonschema
import numpy as np
import pytest
from conftest import ROOT
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import drift, export, models
from service.app import create
from service.guard import Limits

FEATURES = models.FEATURES
JSON = {"content-type": "application/json"}
SINGLE, BATCH = "/v1/predict", "/v1/predict/batch"


def weights(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(FEATURES, models.CLASSES)).astype(np.float32) / 28


def images(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, 1])
    return rng.normal(size=(count, FEATURES)).astype(np.float32)


def direct(seed: int, x: np.ndarray) -> np.ndarray:
    """The probabilities, in float64 and without JAX."""
    logits = x.astype(np.float64) @ weights(seed)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def publish(folder: Path, seed: int) -> Path:
    return export.publish(folder, lambda x: x @ jnp.asarray(weights(seed)), images(100))


# A logit sums 784 products of size about 1/28: float32 is off by less than 784 half units of 1.
ROUNDING = 784 * 2.0**-24


def right(seed: int, x: np.ndarray, answers: list[dict]) -> bool:
    got = np.array([answer["probabilities"] for answer in answers])
    digits = [answer["digit"] for answer in answers]
    expected = direct(seed, x)
    return bool(
        np.allclose(got, expected, rtol=0, atol=ROUNDING)
        and digits == got.argmax(1).tolist()
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two versions: 1 of seed 1, 2 of seed 2. Tests that change them take a copy."""
    path = tmp_path_factory.mktemp("versions")
    publish(path, 1), publish(path, 2)
    return path


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "models"))


@asynccontextmanager
async def started(app):
    """A client of an application in this process."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        yield client


def ask(app, scenario):
    """Run `scenario(client)` against an application that has started."""

    async def run():
        async with started(app) as client:
            return await asyncio.wait_for(scenario(client), 20)

    return asyncio.run(run())


@dataclass
class Client:
    """One application for many tests that do not wait for each other."""

    app: FastAPI
    client: httpx.AsyncClient
    runner: asyncio.Runner

    def request(self, *arguments, **options) -> httpx.Response:
        return self.runner.run(self.client.request(*arguments, **options))

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, **options) -> httpx.Response:
        return self.request("POST", path, **options)


@pytest.fixture(scope="module")
def client(folder):
    app = create(folder)
    entered = started(app)
    with asyncio.Runner() as runner:
        yield Client(app, runner.run(entered.__aenter__()), runner)
        runner.run(entered.__aexit__(None, None, None))


def one(x: np.ndarray | None = None, **more) -> dict:
    return {"features": (images(1)[0] if x is None else x).tolist(), **more}


# --- answers --------------------------------------------------------------------------------------


def test_one_by_one_or_together_the_answers_are_those_of_the_direct_call(client):
    x = images(5)
    single = [client.post(SINGLE, json=one(row)).json() for row in x]
    batch = client.post(BATCH, json={"examples": x.tolist()}).json()
    assert right(2, x, single)
    assert right(2, x, batch["predictions"])
    assert {answer["version"] for answer in [*single, batch]} == {"00000002"}


def test_all_sizes_of_a_batch_are_answered(client):
    for count in (1, 2, 8, 9, 64):
        x = images(count)
        answer = client.post(BATCH, json={"examples": x.tolist()}).json()
        assert right(2, x, answer["predictions"]), count


def test_an_older_version_answers_when_it_is_asked(client):
    x = images(3)
    answer = client.post(BATCH, json={"examples": x.tolist(), "version": "00000001"})
    assert answer.json()["version"] == "00000001"
    assert right(1, x, answer.json()["predictions"])


def test_it_says_how_it_is(client):
    assert client.get("/healthz").json() == {"status": "alive", "version": None}
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {"status": "ready", "version": "00000002"}
    page = client.get("/docs").text
    assert SINGLE in page
    assert "http" not in page.replace("http-equiv", "")  # It loads nothing.
    client.app.state.draining = True
    try:
        assert client.get("/readyz").status_code == 503
        assert client.post(SINGLE, json=one()).status_code == 200
    finally:
        client.app.state.draining = False


# --- bad input ------------------------------------------------------------------------------------

ROW = [0.0] * FEATURES


def with_(value: str) -> str:
    """A body whose first pixel is that text."""
    return json.dumps({"features": ROW}).replace("0.0", value, 1)


# name: (path, body, content type, status)
FAULTS = {
    "empty": (SINGLE, "", "application/json", 422),
    "half of it": (SINGLE, with_("0.0")[:-3], "application/json", 422),
    "not JSON": (SINGLE, "features=1", "application/json", 422),
    "not UTF-8": (SINGLE, b'{"features": "\xe9"}', "application/json", 400),
    "nested too deep": (SINGLE, "[" * 200_000, "application/json", 400),
    "another content type": (SINGLE, with_("0.0"), "text/plain", 422),
    "no object": (SINGLE, "[1, 2]", "application/json", 422),
    "nothing in it": (SINGLE, "{}", "application/json", 422),
    "an unknown field": (
        SINGLE,
        json.dumps({"features": ROW, "verison": "1"}),
        "application/json",
        422,
    ),
    "one too few": (
        SINGLE,
        json.dumps({"features": ROW[1:]}),
        "application/json",
        422,
    ),
    "one too many": (
        SINGLE,
        json.dumps({"features": [*ROW, 0.0]}),
        "application/json",
        422,
    ),
    "rows of pixels": (
        SINGLE,
        json.dumps({"features": [[0.0] * 28] * 28}),
        "application/json",
        422,
    ),
    "text for a number": (SINGLE, with_('"1.0"'), "application/json", 422),
    "true for a number": (SINGLE, with_("true"), "application/json", 422),
    "null for a number": (SINGLE, with_("null"), "application/json", 422),
    "NaN": (SINGLE, with_("NaN"), "application/json", 422),
    "infinity": (SINGLE, with_("-Infinity"), "application/json", 422),
    "above float64": (SINGLE, with_("1e400"), "application/json", 422),
    "above float32": (SINGLE, with_("1e39"), "application/json", 422),
    "a huge integer": (SINGLE, with_("9" * 5000), "application/json", 400),
    "a large integer": (SINGLE, with_("9" * 400), "application/json", 422),
    "no examples": (BATCH, '{"examples": []}', "application/json", 422),
    "65 examples": (
        BATCH,
        json.dumps({"examples": [ROW] * 65}),
        "application/json",
        422,
    ),
    "ragged": (
        BATCH,
        json.dumps({"examples": [ROW, ROW[1:]]}),
        "application/json",
        422,
    ),
    "an unknown version": (
        SINGLE,
        json.dumps(one(version="00000009")),
        "application/json",
        404,
    ),
    "a path as a version": (
        SINGLE,
        json.dumps(one(version="../00000001")),
        "application/json",
        404,
    ),
    "a number as a version": (
        SINGLE,
        json.dumps(one(version=1)),
        "application/json",
        422,
    ),
    "a huge body": (SINGLE, " " * 2_000_001, "application/json", 413),
    "no such address": ("/v1/guess", "{}", "application/json", 404),
}


def harmless(answer: httpx.Response, folder: Path) -> bool:
    """Nothing in an answer tells where the service lives or how it is made."""
    secrets = [str(folder), str(ROOT), "Traceback", "File ", "site-packages", ".py"]
    return not any(secret in answer.text for secret in secrets)


@pytest.mark.parametrize("name", FAULTS)
def test_bad_input_has_its_status_and_the_next_request_its_answer(name, client, folder):
    path, body, kind, status = FAULTS[name]
    answer = client.post(path, content=body, headers={"content-type": kind})
    assert answer.status_code == status
    assert answer.json()["detail"]
    assert len(answer.content) < 2000
    assert harmless(answer, folder)
    assert client.post(SINGLE, json=one()).status_code == 200


def test_a_body_that_does_not_say_its_length_is_counted(client):
    async def pieces():
        for _ in range(3):
            yield b" " * 700_000

    answer = client.post(SINGLE, content=pieces(), headers=JSON)
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"


def test_only_the_methods_of_the_schema_are_served(client):
    assert client.get(SINGLE).status_code == 405
    assert client.request("DELETE", "/healthz").status_code == 405


def test_a_mistake_in_the_service_tells_the_client_nothing(client, monkeypatch, folder):
    def broken(self, x):
        raise RuntimeError(f"no such file: {folder}")

    with monkeypatch.context() as patch:
        patch.setattr(models.Model, "__call__", broken)
        answer = client.post(SINGLE, json=one())
    assert answer.status_code == 500
    assert answer.json() == {"detail": "a mistake in the service"}
    assert 'path="/v1/predict",status="500"' in client.get("/metrics").text
    assert client.post(SINGLE, json=one()).status_code == 200


def test_too_many_at_a_time_are_told_when_to_come_again(folder, monkeypatch):
    app = create(folder, Limits(in_flight=2))
    go, real = threading.Event(), models.Model.__call__

    async def scenario(client):
        def held(self, x):
            assert go.wait(20)
            return real(self, x)

        monkeypatch.setattr(models.Model, "__call__", held)
        accepted = [
            asyncio.create_task(client.post(SINGLE, json=one())) for _ in range(2)
        ]
        while "service_in_flight 2.0" not in (await client.get("/metrics")).text:
            await asyncio.sleep(0.01)
        refused = [await client.post(SINGLE, json=one()) for _ in range(3)]
        alive = await client.get("/healthz")
        go.set()
        return await asyncio.gather(*accepted), refused, alive

    accepted, refused, alive = ask(app, scenario)
    assert [answer.status_code for answer in accepted] == [200, 200]
    assert [answer.status_code for answer in refused] == [503] * 3
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert alive.status_code == 200


def test_a_body_that_does_not_come_to_its_end_is_cut_off(folder):
    app = create(folder, Limits(seconds=0.3))

    async def scenario(client):
        async def trickle():
            for _ in range(100):
                yield b" "
                await asyncio.sleep(0.05)

        slow = await client.post(SINGLE, content=trickle(), headers=JSON)
        return slow, await client.post(SINGLE, json=one())

    slow, then = ask(app, scenario)
    assert slow.status_code == 408
    assert then.status_code == 200


# --- the schema -----------------------------------------------------------------------------------

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=5),
    st.integers(),
    st.floats(),
    st.just({}),
)
PIXELS = st.one_of(
    st.floats(-10, 10), st.integers(-10, 10), st.sampled_from([1e6, -1e6])
)


@st.composite
def rows(draw):
    """784 pixels, or nearly."""
    values = draw(st.lists(PIXELS, min_size=1, max_size=4))
    row = (values * FEATURES)[: draw(st.sampled_from([FEATURES] * 6 + [0, 783, 785]))]
    if row and draw(st.integers(0, 3)) == 0:
        row[draw(st.integers(0, len(row) - 1))] = draw(ODD | st.just(1e6 + 1))
    return row


VERSIONS = st.sampled_from([None, "00000001", "00000002", "3", "x" * 33]) | ODD


@st.composite
def requests(draw):
    """An address of the schema and a body that it may or may not allow."""
    path = draw(st.sampled_from([SINGLE, BATCH]))
    row = rows() | ODD if draw(st.integers(0, 9)) == 0 else rows()
    body = {"features": draw(row)}
    if path == BATCH:
        body = {"examples": draw(st.lists(row, max_size=3))}
    if draw(st.booleans()):
        body["version"] = draw(VERSIONS)
    if draw(st.integers(0, 9)) == 0:
        body[draw(st.text(max_size=5))] = draw(ODD)
    return path, draw(st.sampled_from([body] * 9 + [[body], None]))


def finite(value) -> bool:
    if isinstance(value, dict | list):
        return all(map(finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(request=requests())
def test_what_the_schema_allows_is_answered_and_nothing_else(request, client):
    path, body = request
    whole = client.app.openapi()
    operation = whole["paths"][path]["post"]

    def valid(value, content) -> bool:
        schema = content["application/json"]["schema"] | {
            "components": whole["components"]
        }
        return jsonschema.Draft202012Validator(schema).is_valid(value)

    answer = client.post(path, content=json.dumps(body).encode(), headers=JSON)
    described = operation["responses"][str(answer.status_code)]
    assert valid(answer.json(), described["content"])
    if finite(body) and valid(body, operation["requestBody"]["content"]):
        known = body.get("version") in (None, "00000001", "00000002")
        assert answer.status_code == (200 if known else 404)
    else:
        assert answer.status_code == 422


# --- versions -------------------------------------------------------------------------------------


def flip(path: Path, at: float) -> None:
    """Change one bit, `at` of the way through a file."""
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


def rewrite(version: Path, **changes) -> None:
    """Another manifest, with a seal that is right."""
    about = json.loads((version / models.MANIFEST).read_text())
    del about["seal"]
    (version / models.MANIFEST).write_bytes(models.seal(about | changes))


def nonsense(version: Path) -> None:
    (version / models.PROGRAM).write_bytes(b"nonsense")
    rewrite(version, sha256=hashlib.sha256(b"nonsense").hexdigest())


def other_program(version: Path) -> None:
    """The program of version 1 under the manifest of version 2."""
    shutil.copy(version.parent / "00000001" / models.PROGRAM, version)


def other_inputs(version: Path) -> None:
    """A sound program that takes integers."""
    shape = jax.ShapeDtypeStruct((3,), jnp.int32)
    program = bytes(jax.export.export(jax.jit(lambda x: x))(shape).serialize())
    (version / models.PROGRAM).write_bytes(program)
    rewrite(version, sha256=hashlib.sha256(program).hexdigest())


def exchanged(version: Path) -> None:
    """As `other_program`, and its digest and seal are made right again."""
    other_program(version)
    program = (version / models.PROGRAM).read_bytes()
    rewrite(version, sha256=hashlib.sha256(program).hexdigest())


PROGRAM, MANIFEST = models.PROGRAM, models.MANIFEST
CHANGED = "has changed since it was written"
DAMAGE = {
    "program cut": (lambda v: cut(v / PROGRAM, 1000), f"{PROGRAM} {CHANGED}"),
    "program empty": (lambda v: cut(v / PROGRAM, 0), f"{PROGRAM} {CHANGED}"),
    "program gone": (lambda v: (v / PROGRAM).unlink(), f"{PROGRAM} cannot be read"),
    "manifest gone": (lambda v: (v / MANIFEST).unlink(), f"{MANIFEST} cannot be read"),
    "manifest cut": (lambda v: cut(v / MANIFEST, 1000), f"{MANIFEST} is damaged"),
    "manifest without seal": (
        lambda v: (v / MANIFEST).write_text("{}"),
        f"{MANIFEST} is damaged",
    ),
    "manifest a list": (
        lambda v: (v / MANIFEST).write_text("[]"),
        f"{MANIFEST} is damaged",
    ),
    "another model": (
        lambda v: rewrite(v, model="prices"),
        "its model is prices, ours is digits",
    ),
    "another input": (lambda v: rewrite(v, input=["batch", 64]), "its input is"),
    "another dtype": (lambda v: rewrite(v, dtype="float16"), "its dtype is float16"),
    "no reference": (lambda v: rewrite(v, drift={}), "cannot run it"),
    "no program": (nonsense, "cannot run it; made by"),
    "integers": (other_inputs, "cannot run it; made by"),
    "another's program": (other_program, f"{PROGRAM} {CHANGED}"),
    "another's program, sealed": (exchanged, "it does not compute what it did"),
}


@pytest.fixture(scope="module")
def first(folder) -> models.Model:
    return models.load(folder / "00000001")


def test_a_service_that_starts_on_a_bad_version_serves_the_one_before(copy):
    flip(copy / "00000002" / PROGRAM, 0.3)
    store = models.Store(copy)
    store.refresh()
    assert list(store.models) == ["00000001"]
    assert list(store.refused) == ["00000002"]
    flip(copy / "00000001" / PROGRAM, 0.3)
    store.refresh()  # What is in memory is good.
    assert list(store.models) == ["00000001"]
    shutil.rmtree(copy)
    store.refresh()
    assert list(store.models) == ["00000001"]


@pytest.mark.parametrize("name", DAMAGE)
def test_a_bad_version_is_refused_by_name_and_the_one_before_serves(
    name, copy, first, caplog
):
    damage, reason = DAMAGE[name]
    damage(copy / "00000002")
    store = models.Store(copy)
    store.models = {"00000001": first}  # So that it is not compiled for each fault.
    with caplog.at_level(logging.WARNING, "service"):
        store.refresh()
        store.refresh()
    assert store.current.version == "00000001"
    assert reason in store.refused["00000002"]
    assert [r.getMessage() for r in caplog.records] == [
        f"version 00000002 is refused: {store.refused['00000002']}"
    ]


@given(at=st.floats(0, 1), name=st.sampled_from([PROGRAM, MANIFEST]))
@settings(max_examples=60, deadline=None)
def test_no_bit_can_change_unseen(at, name, folder):
    path = folder / "00000001" / name
    whole = path.read_bytes()
    try:
        flip(path, at)
        with pytest.raises(models.Refused, match=name):
            models._read(path.parent)
    finally:
        path.write_bytes(whole)


def test_a_publisher_that_dies_leaves_no_version(copy, monkeypatch):
    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", dies)
        with pytest.raises(KeyboardInterrupt):
            publish(copy, 3)
    assert [path.name for path in models.versions(copy)] == ["00000001", "00000002"]
    assert publish(copy, 3).name == "00000003"
    assert {path.name for path in copy.iterdir()} == {
        *("00000001", "00000002", "00000003", "lock")
    }


def test_without_a_model_it_says_so_and_goes_on_when_one_comes(tmp_path, folder):
    app = create(tmp_path / "none", refresh=0.05)

    async def scenario(client):
        before = [await client.get("/readyz"), await client.post(SINGLE, json=one())]
        alive = await client.get("/healthz")
        shutil.copytree(folder, tmp_path / "half")
        (tmp_path / "half").rename(tmp_path / "none")
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.05)
        return before, alive, await client.post(SINGLE, json=one())

    before, alive, after = ask(app, scenario)
    assert [answer.status_code for answer in before] == [503, 503]
    assert before[1].headers["retry-after"]
    assert (alive.status_code, after.status_code) == (200, 200)


def test_versions_come_and_go_under_load_and_no_request_is_lost(copy):
    """1 -> 2 -> a damaged 3 -> back to 1, with eight clients that never pause."""
    aside = copy / "aside"
    (copy / "00000002").rename(aside)
    app = create(copy, refresh=0.02)
    x = images(8)
    answers: list[tuple[int, httpx.Response]] = []

    async def scenario(client):
        done = asyncio.Event()

        async def load(number: int):
            while not done.is_set():
                answer = await client.post(SINGLE, json=one(x[number]))
                answers.append((number, answer))

        async def until(check):
            while not check():
                await asyncio.sleep(0.02)

        store = app.state.store
        clients = [asyncio.create_task(load(number)) for number in range(8)]
        await until(lambda: len(answers) > 16)
        aside.rename(copy / "00000002")
        await until(lambda: store.current.version == "00000002")
        seen = len(answers)
        shutil.copytree(copy / "00000002", aside)
        flip(aside / PROGRAM, 0.5)
        aside.rename(copy / "00000003")
        await until(lambda: "00000003" in store.refused and len(answers) > seen + 16)
        shutil.rmtree(copy / "00000003")
        (copy / "00000002").rename(aside)
        await until(lambda: store.current.version == "00000001")
        seen = len(answers)
        await until(lambda: len(answers) > seen + 16)
        done.set()
        await asyncio.gather(*clients)

    ask(app, scenario)
    assert {answer.status_code for _, answer in answers} == {200}
    assert {answer.json()["version"] for _, answer in answers} == {
        *("00000001", "00000002")
    }
    for number, answer in answers:
        told = answer.json()
        assert right(int(told["version"]), x[number : number + 1], [told])


# --- what is measured -----------------------------------------------------------------------------


def value(text: str, name: str) -> float:
    return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)[1])


def test_strangers_cannot_make_new_series(client):
    for number in range(5):
        client.get(f"/wp-admin/{number}")
    text = client.get("/metrics").text
    assert "wp-admin" not in text
    assert value(text, 'service_requests_total{path="other",status="404"}') >= 5


def test_examples_and_drift_are_measured(copy):
    held_out = images(100)
    shifted = images(256, seed=5) + 0.5

    async def scenario(client):
        pages = []
        for x in [images(256, seed=4), shifted]:
            for start in range(0, 256, 64):
                text = json.dumps({"examples": x[start : start + 64].tolist()})
                assert (
                    await client.post(BATCH, content=text, headers=JSON)
                ).status_code == 200
            pages.append((await client.get("/metrics")).text)
        return pages

    pages = ask(create(copy), scenario)
    name = 'service_drift{signal="%s",version="00000002"}'
    assert value(pages[1], 'service_examples_total{version="00000002"}') == 512
    for which in drift.SIGNALS:
        assert abs(value(pages[0], name % which)) < 4
        assert value(pages[0], name % which) != value(pages[1], name % which)
    # By hand: the mean of all pixels moved by half, and each image's mean has spread `std`.
    std = held_out.mean(1).std() * math.sqrt(1 / 256 + 1 / 100)
    moved = (shifted.mean() - held_out.mean()) / std
    assert value(pages[1], name % "brightness") == pytest.approx(moved, rel=1e-3)
    assert moved > 4
    unused = name.replace("00000002", "00000001") % "contrast"
    assert math.isnan(value(pages[0], unused))


def test_drift_is_a_standard_normal_number_when_nothing_drifts():
    rng = np.random.default_rng(0)
    z = []
    for _ in range(200):
        held_out, x = rng.normal(size=(2, 256, 4)).astype(np.float32)
        watch = drift.Drift(drift.reference(held_out, abs(held_out)))
        watch.add(x, abs(x))
        z.append(list(watch.z().values()))
    # Four sampling errors: of a mean 1/sqrt(200), of a standard deviation 1/sqrt(400).
    assert abs(np.mean(z, axis=0)).max() < 4 / math.sqrt(200)
    assert abs(np.std(z, axis=0) - 1).max() < 4 / math.sqrt(400)


# --- the process ----------------------------------------------------------------------------------


@contextmanager
def serving(folder: Path, *options: str):
    """`python -m service` in a process of its own: (process, its port)."""
    command = [sys.executable, "-m", "service", "--models", folder, "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    process = subprocess.Popen(
        [*command, *options],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    try:
        for line in process.stderr:
            found = re.search(r"running on http://127.0.0.1:(\d+)", line)
            if found:
                break
        yield process, int(found[1])
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stderr.close()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def listens(port: int) -> bool:
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return False
    return True


def head(body: bytes) -> bytes:
    lines = [
        f"POST {SINGLE} HTTP/1.1",
        "host: service",
        "content-type: application/json",
    ]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode()


def rest(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


class Load:
    """Clients in threads that ask without pause until told to stop, or until one ask fails."""

    def __init__(self, port: int, count: int = 3, bodies: Sequence = ()) -> None:
        self.answers: list[httpx.Response] = []
        self.failures: list[Exception] = []
        self.bodies = itertools.cycle(bodies or [one()])
        self.done = threading.Event()
        self.url = f"http://127.0.0.1:{port}{SINGLE}"
        self.threads = [threading.Thread(target=self._ask) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _ask(self) -> None:
        with httpx.Client(timeout=20) as client:
            while not self.done.is_set():
                try:
                    answer = client.post(self.url, json=next(self.bodies))
                    self.answers.append(answer)
                except httpx.TransportError as error:
                    self.failures.append(error)
                    return

    def wait(self, count: int) -> None:
        until = time.monotonic() + 20
        while len(self.answers) < count:
            assert time.monotonic() < until
            time.sleep(0.01)

    def stop(self) -> None:
        self.done.set()
        self.join()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(20)


@pytest.mark.slow
def test_slow_clients_are_cut_off_and_a_stop_loses_nothing(folder):
    body = json.dumps(one()).encode()
    with serving(folder, "--seconds", "3", "--drain", "0.7") as (process, port):
        # Slow: one in its first head, one in a later head, one in its body.
        first, later, inside = connect(port), connect(port), connect(port)
        first.sendall(b"POST /v1/predict HTTP/1.1\r\nho")
        later.sendall(head(body) + body)
        answered = later.recv(65536)
        while not answered.endswith(b"}"):
            answered += later.recv(65536)
        assert answered.startswith(b"HTTP/1.1 200")
        later.sendall(b"GET /hea")
        inside.sendall(head(body) + body[:100])
        load = Load(port)
        garbage = connect(port)
        garbage.sendall(b"\x16\x03\x01 is TLS\r\n\r\n")
        assert rest(garbage).startswith(b"HTTP/1.1 400")
        greedy = connect(port)
        greedy.sendall(head(b" " * 3_000_000))
        assert rest(greedy).startswith(b"HTTP/1.1 413")
        assert rest(first) == b""
        assert rest(later) == b""
        assert rest(inside).startswith(b"HTTP/1.1 408")
        # Accepted before the signal, sent to its end after the last listener has gone.
        late = connect(port)
        late.sendall(head(body) + body[:100])
        load.wait(len(load.answers) + 5)
        signalled = time.monotonic()
        process.send_signal(signal.SIGTERM)
        ready = f"http://127.0.0.1:{port}/readyz"
        while httpx.get(ready).status_code == 200:
            time.sleep(0.02)
        load.stop()  # As a load balancer does.
        while listens(port):
            time.sleep(0.05)
        assert time.monotonic() - signalled >= 0.7
        late.sendall(body[100:])
        assert rest(late).startswith(b"HTTP/1.1 200")
        assert process.wait(20) == -signal.SIGTERM
        for connection in (garbage, greedy, first, later, inside, late):
            connection.close()
    assert not load.failures
    assert {answer.status_code for answer in load.answers} == {200}


@pytest.mark.slow
def test_killed_under_load_it_comes_back_and_no_answer_was_wrong(folder):
    with serving(folder) as (process, port):
        load = Load(port)
        load.wait(20)
        process.kill()
        load.join()
    with serving(folder) as (_, port):
        again = httpx.post(f"http://127.0.0.1:{port}{SINGLE}", json=one())
    assert len(load.failures) == len(load.threads)  # Each was told by its connection.
    assert {answer.status_code for answer in load.answers} == {200}
    assert {answer.text for answer in load.answers} == {again.text}
    assert right(2, images(1), [again.json()])


@pytest.mark.slow
def test_attached_it_stops_with_whoever_started_it(folder):
    """However that one ends: the system closes its end of the pipe."""
    with serving(folder, "--attached") as (process, port):
        assert listens(port)
        process.stdin.close()
        assert process.wait(20) == -signal.SIGTERM


# --- what it is made of ---------------------------------------------------------------------------


def pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w-]+)==(\S+)", path.read_text(), re.MULTILINE))


def test_the_image_has_the_versions_that_were_tested():
    own, book = pins(ROOT / "service/requirements.txt"), pins(ROOT / "requirements.txt")
    assert own
    assert own.items() <= book.items()


def test_serving_needs_no_training_code():
    """What the image does not have must not be imported."""
    code = (
        "import sys, service.__main__; "
        "print(sorted({'flax', 'vgutils', 'pipeline', 'orbax', 'grain'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]", done.stderr


def look(*command: str | Path) -> None:
    """Run a program on files of `service/`; where it is not installed, skip."""
    beside = Path(sys.executable).parent
    name = shutil.which(command[0], path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    if name is None:
        pytest.skip(f"there is no {command[0]}")
    done = subprocess.run(
        [name, *command[1:]],
        cwd=ROOT / "service",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


MANIFESTS = sorted((ROOT / "service/kubernetes").glob("*.yaml"))
STYLE = "{extends: default, rules: {document-start: disable, line-length: {max: 110}}}"


def test_the_image_is_made_as_it_should_be():
    look("hadolint", "Dockerfile")


def test_kubernetes_would_take_the_manifests():
    assert [path.stem for path in MANIFESTS] == ["deployment", "hpa", "service"]
    look("kubernetes-validate", "--strict", *MANIFESTS)


def test_the_manifests_are_in_one_form():
    look("yamllint", "--strict", "-d", STYLE, ".")


def test_the_alerts_ring_when_they_should_and_only_then():
    look("promtool", "check", "rules", "alerts.yaml")
    look("promtool", "test", "rules", "alerts_test.yaml")


def test_the_alerts_ask_for_what_there_is(client):
    client.post(SINGLE, json=one())
    rules = (ROOT / "service/alerts.yaml").read_text()
    asked = set(re.findall(r"\bservice_\w+", rules))
    there = set(re.findall(r"^service_\w+", client.get("/metrics").text, re.MULTILINE))
    assert len(asked) == 5
    assert asked <= there
    assert f"abs(service_drift) > {drift.ALARM:g}" in rules
    tried = (ROOT / "service/alerts_test.yaml").read_text()
    for name in re.findall(r"alert: (\w+)", rules):
        assert tried.count(f"alertname: {name}") >= 2
