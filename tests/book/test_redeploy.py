"""From an alarm to the next version: what is published, what is not, and that nobody notices."""

from __future__ import annotations

import http.server
import logging
import math
import os
import shutil
import signal
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from test_service import Load, serving

import vgutils as vg
from pipeline import checkpoints, ingest, train
from service import drift, export, models, redeploy

DIGITS = vg.datasets.digits()
PLAN = redeploy.Plan(every=0.05, lasts=3, steps=150, at_least=200, patience=30)


def camera(x: np.ndarray) -> np.ndarray:
    """What a new camera makes of images: mirrored, and brighter by two deviations."""
    mirror = x.reshape(-1, 28, 28)[:, :, ::-1].reshape(-1, 784)
    return mirror + np.float32(2 * DIGITS.x_test.mean(1).std())


# The digits are sorted by their labels; what a camera sees is not.
SEEN = np.random.default_rng(0).permutation(len(DIGITS.y_train))


def records(x: np.ndarray, y: np.ndarray) -> bytes:
    """A file of labelled images."""
    return b"".join(ingest.encode(*pair) for pair in zip(x, y, strict=True))


def new(count: int) -> bytes:
    """A file of labelled images of the new camera."""
    return records(camera(DIGITS.x_train[SEEN[:count]]), DIGITS.y_train[SEEN[:count]])


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A short training's checkpoint, and version 1 from it. Tests take a copy."""
    home = tmp_path_factory.mktemp("trained")
    plan = train.Plan(steps=200, save_every=200)
    model, _ = train.train(home / "checkpoints", ingest.Digits(), plan=plan)
    about = {"weights": train.digest(nnx.state(model))}
    export.publish(home / "models", model, DIGITS.x_test, about)
    return home


@pytest.fixture
def place(trained, tmp_path) -> redeploy.Place:
    home = Path(shutil.copytree(trained, tmp_path / "home"))
    (home / "retrained").mkdir()
    (home / "new").write_bytes(new(1000))
    return redeploy.Place(
        service="http://127.0.0.1:1",
        models=home / "models",
        checkpoints=home / "checkpoints",
        retrained=home / "retrained",
        new=ingest.open_source(f"file:{home / 'new'}"),
        old=ingest.Digits(),
    )


def said(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def published(place: redeploy.Place) -> list[str]:
    return [path.name for path in models.versions(place.models)]


# --- all of it ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_alarm_under_load_ends_in_a_better_version_and_no_request_is_lost(
    place, caplog, monkeypatch
):
    x = camera(np.random.default_rng(1).permutation(DIGITS.x_test))
    bodies = [{"features": row.tolist()} for row in x]
    with (
        caplog.at_level(logging.INFO, "service"),
        serving(place.models, "--refresh", "0.1") as (_, port),
    ):
        place = replace(place, service=f"http://127.0.0.1:{port}")
        load = Load(port, bodies=bodies)
        try:
            assert redeploy.watch(place, PLAN, threading.Event(), once=True) == 0
            now = len(load.answers)
            load.wait(now + drift.WINDOW + 10)
            version, z = redeploy.look(place.service)
        finally:
            load.stop()
    assert not load.failures
    assert {answer.status_code for answer in load.answers} == {200}
    assert [a.json()["version"] for a in (load.answers[0], load.answers[-1])] == [
        *("00000001", "00000002")
    ]
    assert version == "00000002"
    assert z < drift.ALARM  # What comes in now is what it was tried on.
    told = said(caplog)
    assert told[0].startswith("alarm: version 00000001, |z| ")
    assert told[-2:] == ["version 00000002 is published", "version 00000002 serves"]

    manifest = models.load(place.models / version).about
    assert manifest["drift"]["count"] == 250  # The last quarter of the new records.
    about = manifest["retrained"]
    before, after = about["right"]["new"]
    assert after > before + 0.2
    assert min(about["gradient"]) > 2
    assert (about["records"], about["instead of"]) == (1000, "00000001")

    # `make service` finds the weights that it began with, and publishes nothing.
    first, _ = train.train(place.checkpoints, place.old, plan=train.Plan(steps=200))
    monkeypatch.setattr(train, "train", lambda *_: (first, 200))
    folders = ["--models", str(place.models), "--checkpoints", str(place.checkpoints)]
    assert export.main(folders) == 0
    assert published(place) == ["00000001", "00000002"]


# --- what is not published ------------------------------------------------------------------------


def test_a_retraining_goes_on_from_the_last_and_says_where_it_began(place, monkeypatch):
    learn, learned = redeploy.learn, []

    def noting(state, update, records, *rest):
        learned.extend(records)
        return learn(state, update, records, *rest)

    monkeypatch.setattr(redeploy, "gate", lambda *_: {})
    monkeypatch.setattr(redeploy, "learn", noting)
    for _ in range(2):
        redeploy.renew(place, replace(PLAN, steps=5), published(place)[-1])
    about = [models._read(path)[0] for path in models.versions(place.models)]
    assert {more["retrained"]["began"] for more in about[1:]} == {about[0]["weights"]}
    assert [path.name for path in sorted(place.retrained.glob("0*"))] == [
        *("00000205", "00000210")
    ]
    new = place.new.read()
    assert set(new[:750]) <= set(learned)  # Beside the old ones,
    assert not set(new[750:]) & set(learned)  # and without those held out.


def test_what_reads_held_out_records_worse_is_not_published(place, caplog):
    # Old images whose labels are wrong: what it learns of them, it forgets of the others.
    some = SEEN[:1000]
    wrong = records(DIGITS.x_train[some], (DIGITS.y_train[some] + 1) % 10)
    (place.checkpoints.parent / "new").write_bytes(wrong)
    with pytest.raises(redeploy.Worse, match=r"new .+ -> .+ %, old 9\d\.. -> .+ %"):
        redeploy.renew(place, PLAN, "00000001")
    assert published(place) == ["00000001"]
    assert not list(place.retrained.iterdir())


def reads(*numbers: int, count: int = 400) -> np.ndarray:
    """The first of two counts is read wrongly, from the second on all is right."""
    wrong = np.zeros(count, bool)
    wrong[numbers[0] : numbers[1]] = True
    return ~wrong


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        ({"new": reads(0, 90), "old": reads(0, 10)}, {}, False),
        ({"new": reads(0, 90)}, {"new": reads(0, 91)}, True),
        ({"new": reads(0, 90)}, {"new": reads(0, 89)}, False),
        # Of the old ones: 5 lost, 1 won is within 2 √6; 5 lost, none won is not within 2 √5.
        ({"old": reads(0, 1)}, {"old": reads(1, 6)}, False),
        ({"old": reads(0, 0)}, {"old": reads(0, 4)}, False),
        ({"old": reads(0, 0)}, {"old": reads(0, 5)}, True),
    ],
)
def test_the_gate(before, after, worse):
    whole = {"new": reads(0, 0), "old": reads(0, 0)} | before
    try:
        shares = redeploy.gate(whole, whole | after)
    except redeploy.Worse:
        assert worse
    else:
        assert not worse
        assert shares["new"][0] == whole["new"].mean()
        assert shares["old"][1] == (whole | after)["old"].mean()


@pytest.mark.parametrize(
    ("damage", "error", "reason"),
    [
        (lambda home: (home / "new").unlink(), ingest.SourceUnavailable, "No such"),
        (
            lambda home: (home / "new").write_bytes(new(199)),
            redeploy.NotYet,
            "199 labelled new records, 200 are needed",
        ),
        (
            lambda home: (home / "new").write_bytes(new(200)[:-1]),
            ingest.BadRecord,
            "record 199",
        ),
        (
            lambda home: shutil.rmtree(home / "checkpoints"),
            redeploy.NotYet,
            "no checkpoint",
        ),
    ],
)
def test_what_is_missing_is_named_and_nothing_is_published(
    place, damage, error, reason
):
    damage(place.models.parent)
    with pytest.raises(error, match=reason):
        redeploy.renew(place, PLAN, "00000001")
    assert published(place) == ["00000001"]
    assert issubclass(error, redeploy.FAILURES)


# --- when it acts ---------------------------------------------------------------------------------


def test_an_alarm_rings_once_until_it_was_quiet_or_the_version_is_new():
    rings = redeploy.Watch(3)
    looks = [("1", z) for z in (5, 5, 3, 5, 5, 5, 5, 5, 5, math.nan, 5, 5, 5)]
    looks += [("2", 5)] * 4
    rung = [number for number, look in enumerate(looks) if rings(*look)]
    assert rung == [5, 12, 15]


class Stub(http.server.BaseHTTPRequestHandler):
    """A service of which the tests say what it measures."""

    z, version = math.nan, 1

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        line = (
            f'service_drift{{signal="contrast",version="{self.version:08d}"}} {self.z}'
        )
        old = 'service_drift{signal="contrast",version="00000000"} 99'
        self.wfile.write(f"service_version {self.version}\n{line}\n{old}\n".encode())

    def log_message(self, *_):
        """Keep quiet."""


@pytest.fixture
def stub(place, monkeypatch):
    """Where a stub answers as soon as `start()` was called: (place, start, its class)."""
    kind = type("Own", (Stub,), {})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    servers = []

    def start():
        server = http.server.ThreadingHTTPServer(address, kind)
        threading.Thread(target=server.serve_forever, args=[0.02]).start()
        servers.append(server)

    yield replace(place, service=f"http://127.0.0.1:{address[1]}"), start, kind
    for server in servers:
        server.shutdown()
        server.server_close()


def until(check):
    end = time.monotonic() + 20
    while not check():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_it_waits_for_the_service_and_does_not_try_the_same_alarm_twice(
    stub, monkeypatch, caplog
):
    place, start, kind = stub
    tried, stop, codes = [], threading.Event(), []
    reasons = [redeploy.NotYet("few"), redeploy.Worse("less"), redeploy.Worse("less")]

    def renew(place, plan, version):
        tried.append(version)
        raise reasons[len(tried) - 1]

    monkeypatch.setattr(redeploy, "renew", renew)
    plan = replace(PLAN, every=0.01)

    def watch():
        codes.append(redeploy.watch(place, plan, stop))

    with caplog.at_level(logging.INFO, "service"):
        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            until(lambda: said(caplog))
            time.sleep(0.1)
            kind.z = -5.0
            start()
            until(lambda: len(tried) == 2)  # What was missing may have come.
            time.sleep(0.2)
            assert len(tried) == 2
            kind.z = 0.0
            time.sleep(0.1)
            kind.z = 4.5
            until(lambda: len(tried) == 3)
        finally:
            stop.set()
            thread.join(20)
    assert codes == [0]
    told = said(caplog)
    assert told[0].startswith(f"waiting for the service: {place.service}/metrics: ")
    assert told[1:4] == [
        "the service answers again",
        "alarm: version 00000001, |z| 5.0, 3 looks",
        "not replaced: few",
    ]
    assert told[5] == "nothing is published: less"


@pytest.mark.parametrize(
    ("raised", "code"), [(None, 0), (redeploy.NotYet, 1), (redeploy.Worse, 3)]
)
def test_once_its_status_says_how_it_went(stub, monkeypatch, raised, code):
    place, start, kind = stub
    kind.z = 9.0
    start()

    def renew(place, plan, version):
        if raised:
            raise raised("why")
        return Path("00000002")

    monkeypatch.setattr(redeploy, "renew", renew)
    monkeypatch.setattr(redeploy, "await_version", lambda *_: None)
    plan = replace(PLAN, every=0.01)
    assert redeploy.watch(place, plan, threading.Event(), once=True) == code


def test_a_service_that_does_not_take_the_version_up_is_named(stub):
    place, start, _ = stub
    start()  # Its answer is not JSON, too.
    with pytest.raises(redeploy.NotYet, match=r"00000002 is published, but .*/readyz"):
        redeploy.await_version(place.service, "00000002", patience=0.3)


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def command(place):
    """What the command line says, and the signal handlers as they were."""
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    yield [
        *("--new", str(place.new), "--retrained", str(place.retrained)),
        *("--service", place.service, "--every", "0.05"),
    ]
    for number, handler in before.items():
        signal.signal(number, handler)


def test_one_process_at_a_time(command, place, capsys):
    late = threading.Timer(20, os.kill, [os.getpid(), signal.SIGTERM])
    late.start()  # Without the lock it would go on for ever.
    with checkpoints.locked(place.retrained):
        assert redeploy.main(command) == 1
    late.cancel()
    assert "service: another run is training in" in capsys.readouterr().err


def test_a_signal_stops_it(command):
    threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGTERM]).start()
    assert redeploy.main(command) == 0


@pytest.mark.parametrize(
    "wrong", [[], ["--new", "ftp:x"], ["--new", "file:x", "--lasts", "many"]]
)
def test_wrong_options_are_named(wrong, capsys):
    with pytest.raises(SystemExit) as stopped:
        redeploy.main(wrong)
    assert stopped.value.code == 2
    assert "--new" in capsys.readouterr().err
