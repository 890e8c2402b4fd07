"""The pipeline: killed, damaged, fed from elsewhere, it ends with the same weights or says why."""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import os
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

import vgutils as vg
from pipeline import checkpoints, ingest, scale, train

# Small, so that a run takes about a second; an epoch is 6.25 batches.
RECIPE = train.Recipe(width=16, depth=1, batch_size=32)
PLAN = train.Plan(steps=24, save_every=6, keep=2)


def records(count: int = 200) -> list[bytes]:
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(count, ingest.FEATURES)).astype(np.float32)
    return [ingest.encode(x, number % 10) for number, x in enumerate(pixels)]


@dataclasses.dataclass(frozen=True)
class Memory:
    """A source that may have grown since training began."""

    count: int = 200
    seen: list = dataclasses.field(default_factory=list)

    def read(self, limit=None):
        self.seen.append(limit)
        return records(self.count)[:limit]


def run(folder: Path, plan: train.Plan = PLAN, recipe=RECIPE, source=None) -> str:
    """Train in this process; a digest of the last checkpoint's whole state."""
    train.train(folder, source or Memory(), recipe, plan)
    return state_digest(folder)


def state_digest(folder: Path, recipe=RECIPE) -> str:
    _, state, _ = train.build(recipe)
    arrays, about = checkpoints.latest(folder, train.flat(state), {})
    return f"{about['step']} {about['position']} {train.digest(arrays)}"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder whose training was never interrupted."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run(folder)
    return folder


# --- killed ---------------------------------------------------------------------------------------


class Killed(BaseException):
    """What no part of the pipeline catches."""


# Before which call of which function a run ends. A save is made at every sixth step; within it
# `_orbax` comes first, then the sums, the rename that makes it valid, and what is too old goes.
MOMENTS = [
    (scale, "split", 1),  # Before the first step.
    (checkpoints, "_orbax", 1),  # In the first save: there is no checkpoint yet.
    (scale, "split", 9),  # Between two saves.
    (checkpoints, "_digests", 2),  # The arrays are written, the rest is not.
    (checkpoints.os, "rename", 2),  # All is written, and has no name.
    (
        checkpoints.shutil,
        "rmtree",
        1,
    ),  # The oldest has lost its name, and is still there.
    (scale, "split", 24),
]


def end(monkeypatch, where, name: str, count: int, by) -> None:
    """Call `by` at that moment."""
    real, calls = getattr(where, name), []

    def deadly(*arguments, **options):
        calls.append(name)
        if len(calls) == count:
            by()
        return real(*arguments, **options)

    monkeypatch.setattr(where, name, deadly)


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: f"{moment[1:]}")
def test_a_run_that_ends_at_any_moment_goes_on_bit_for_bit(
    moment, tmp_path, undisturbed, monkeypatch
):
    def by():
        raise Killed

    with monkeypatch.context() as patch:
        end(patch, *moment, by)
        with pytest.raises(Killed):
            run(tmp_path)
    assert run(tmp_path) == state_digest(undisturbed)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {path.name for path in undisturbed.iterdir()}


def suffer(folder: Path, where: str, name: str, count: int) -> None:
    """Train in a process that kills itself, without a chance to tidy up."""
    place = {"scale": scale, "os": os}[where]
    end(
        pytest.MonkeyPatch(),
        place,
        name,
        count,
        lambda: os.kill(os.getpid(), signal.SIGKILL),
    )
    run(folder)


def report(folder: Path, steps) -> None:
    """Train in a process that counts its steps where another can see them."""
    real = scale.split

    def counted(*arguments):
        steps.value += 1
        time.sleep(0.01)
        return real(*arguments)

    scale.split = counted
    run(folder)


@pytest.mark.slow
def test_a_process_killed_by_the_system_goes_on_bit_for_bit(tmp_path, undisturbed):
    context = multiprocessing.get_context("spawn")
    inside = ("os", "rename", 2)  # The first save is whole, the second has no name yet.
    child = context.Process(target=suffer, args=(tmp_path, *inside))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    steps = context.Value("i", 0)
    child = context.Process(target=report, args=(tmp_path, steps))
    child.start()
    rng, deadline = np.random.default_rng(), time.monotonic() + 120
    last = rng.integers(1, 12)  # Any moment will do.
    while steps.value < last and child.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.02))
    child.kill()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert run(tmp_path) == state_digest(undisturbed)


# --- damaged, and foreign -------------------------------------------------------------------------


def flip(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
def test_a_damaged_checkpoint_is_refused_whatever_the_file(
    damage, tmp_path, undisturbed, caplog
):
    _, state, _ = train.build(RECIPE)
    like = train.flat(state)
    newest = undisturbed / "00000024"
    files = [path.relative_to(newest) for path in newest.rglob("*") if path.is_file()]
    assert len(files) > 5
    for number, file in enumerate(files):
        folder = shutil.copytree(undisturbed, tmp_path / str(number))
        damage(folder / "00000024" / file)
        arrays, about = checkpoints.latest(folder, like, {})
        assert about["step"] == 18
        assert arrays.keys() == like.keys()
        blamed = caplog.messages[-1].removeprefix("checkpoint 00000024 is refused: ")
        # A list of sums that is damaged may accuse another file.
        assert str(file) in blamed or file.name == "SHA256SUMS"
        assert (folder / "refused-00000024").is_dir()


def test_after_a_damaged_checkpoint_training_goes_on_from_the_good_one(
    tmp_path, undisturbed, caplog
):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    flip(folder / "00000024" / "about.json")
    caplog.set_level(logging.INFO, "pipeline")
    assert run(folder) == state_digest(undisturbed)
    assert "00000024 is refused: about.json has changed" in caplog.text
    assert "going on from checkpoint 00000018" in caplog.text


def test_where_every_checkpoint_is_damaged_training_begins_anew(tmp_path, undisturbed):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    for name in ["00000018", "00000024"]:
        truncate(folder / name / "SHA256SUMS")
    assert train.train(folder, Memory(), RECIPE, PLAN)[1] == 0
    assert state_digest(folder) == state_digest(undisturbed)


def test_a_file_too_many_is_refused(tmp_path, undisturbed, caplog):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    (folder / "00000024" / "state" / "more").write_text("")
    state_digest(folder)
    assert "state/more is not in SHA256SUMS" in caplog.text


def test_a_checkpoint_under_another_step_is_refused(tmp_path, undisturbed, caplog):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    (folder / "00000024").rename(folder / "00000030")
    assert state_digest(folder).startswith("18 ")
    assert "checkpoint 00000030 is refused: it is of step 24" in caplog.text


def test_a_checkpoint_of_another_model_is_refused(tmp_path, undisturbed, caplog):
    wider = dataclasses.replace(RECIPE, width=24)
    other = tmp_path / "other"
    run(other, train.Plan(50, 50, 1), wider)
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    shutil.copytree(other / "00000050", folder / "00000050")
    assert train.train(folder, Memory(), RECIPE, PLAN)[1] == 24
    assert "00000050 is refused: its recipe is {'width': 24" in caplog.text
    assert (folder / "refused-00000050").is_dir()
    # In a folder with nothing but another training, nothing is touched.
    with pytest.raises(checkpoints.Foreign, match="holds no checkpoint of this train"):
        run(other)
    assert sorted(path.name for path in other.iterdir()) == ["00000050", "lock"]


def test_old_checkpoints_go_and_refused_ones_stay(tmp_path, undisturbed):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    flip(folder / "00000024" / "about.json")
    run(folder, train.Plan(48, 6, 3))
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["00000036", "00000042", "00000048", "lock", "refused-00000024"]


def test_one_run_at_a_time(tmp_path):
    with (
        checkpoints.locked(tmp_path),
        pytest.raises(checkpoints.Busy, match="another run is training in"),
    ):
        run(tmp_path)


def test_a_loss_that_is_not_finite_is_not_saved(tmp_path):
    wild = dataclasses.replace(RECIPE, learning_rate=1e20)
    with pytest.raises(FloatingPointError, match="the loss is nan at step 6"):
        run(tmp_path, PLAN, wild)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


# --- records --------------------------------------------------------------------------------------


def test_a_log_that_has_grown_changes_nothing(tmp_path, undisturbed):
    run(tmp_path, dataclasses.replace(PLAN, steps=12))
    grown = Memory(260)
    assert run(tmp_path, source=grown) == state_digest(undisturbed)
    assert grown.seen == [200]


def test_training_does_not_go_on_with_other_records(tmp_path):
    class Other(Memory):
        def read(self, limit=None):
            return records()[::-1][:limit]

    run(tmp_path, dataclasses.replace(PLAN, steps=5))
    with pytest.raises(checkpoints.Foreign, match="training began with"):
        run(tmp_path, source=Other())


def test_batches_go_on_exactly_where_they_were():
    def take(iterator, count):
        return [next(iterator)[0] for _ in range(count)]

    data = records(50)
    whole = take(ingest.batches(data, 8, seed=3), 30)
    for position in (0, 1, 6, 7, 19):  # An epoch ends within the seventh batch.
        before = ingest.batches(data, 8, seed=3)
        take(before, position)
        after = ingest.batches(data, 8, seed=3)
        after.set_state(before.get_state())
        np.testing.assert_array_equal(take(after, 8), whole[position : position + 8])
    assert not np.array_equal(whole[0], take(ingest.batches(data, 8, seed=4), 1)[0])


def test_every_epoch_has_all_records_in_another_order():
    data = records(40)
    iterator = ingest.batches(data, 8, seed=0)
    epochs = [np.concatenate([next(iterator)[0] for _ in range(5)]) for _ in range(2)]
    expected = sorted(ingest.decode(record)[0][0] for record in data)
    for epoch in epochs:
        assert sorted(epoch[:, 0]) == expected
    assert not np.array_equal(*epochs)


def test_a_record_comes_back_as_it_was():
    x = np.arange(784, dtype=np.float32)
    pixels, label = ingest.decode(ingest.encode(x, 7))
    np.testing.assert_array_equal(pixels, x)
    assert label == 7


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"", "record 1 must have 3137 bytes, got 0"),
        (records(1)[0][:-1], "record 1 must have 3137 bytes, got 3136"),
        (b"\x0a" + records(1)[0][1:], "record 1 must have a label below 10, got 10"),
        (
            ingest.encode(np.full(784, np.nan, np.float32), 1),
            "record 1 must have finite pixels",
        ),
    ],
)
def test_a_bad_record_is_named(bad, message):
    with pytest.raises(ingest.BadRecord, match=message):
        ingest.check([records(1)[0], bad])


def test_no_records_are_an_error():
    with pytest.raises(ingest.BadRecord, match="has no records"):
        ingest.check([])


def test_the_digits_are_records():
    digits = vg.datasets.digits()
    source = ingest.open_source("digits:")
    x, y = zip(*map(ingest.decode, source.read(20)), strict=True)
    np.testing.assert_array_equal(x, digits.x_train[:20])
    np.testing.assert_array_equal(y, digits.y_train[:20])
    assert len(source.read()) == len(digits.y_train)


def test_a_file_is_a_source(tmp_path):
    path = tmp_path / "records"
    source = ingest.open_source(f"file:{path}")
    with pytest.raises(ingest.SourceUnavailable, match=f"file:{path}: No such file"):
        source.read()
    path.write_bytes(b"".join(records(3)))
    assert source.read() == records(3)
    assert source.read(2) == records(2)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ingest.BadRecord, match="record 2 must have"):
        ingest.check(source.read())


@pytest.mark.parametrize(
    "url",
    ["", "digits:3", "file:", "file://a/b", "kafka://host", "s3:bucket", "ftp://a/b"],
)
def test_an_address_that_is_none_is_named(url):
    with pytest.raises(ValueError, match="source must be digits:, file:path, kafka://"):
        ingest.open_source(url)


# --- the command ----------------------------------------------------------------------------------


def test_the_command_trains_goes_on_and_says_how_well(tmp_path, capsys):
    options = ["--folder", str(tmp_path), "--width", "16", "--depth", "1"]
    options += ["--batch-size", "32", "--save-every", "50"]
    assert train.main([*options, "--steps", "50"]) == 0
    first = capsys.readouterr().out.splitlines()[-2:]
    assert train.main([*options, "--steps", "100"]) == 0
    said = capsys.readouterr().out.splitlines()[-2:]
    assert said[1].startswith("weights ")
    assert said[1] != first[1]
    share = float(re.fullmatch(r"accuracy (0\.\d+) ± .*", said[0])[1])
    assert (
        share > 0.5
    )  # Far beyond the 0.1 of guessing, with any weights to begin with.


def test_the_command_says_in_one_line_what_is_wrong(tmp_path, capsys):
    with checkpoints.locked(tmp_path):
        assert train.main(["--folder", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("pipeline: another run is training in")
    for option, value, message in [
        ("--source", "ftp://somewhere", "source must be digits:"),
        ("--batch-size", "0", "batch_size must be at least 1, got 0"),
        ("--save-every", "0", "save_every must be at least 1, got 0"),
    ]:
        with pytest.raises(SystemExit):
            train.main([option, value])
        assert message in capsys.readouterr().err


# --- Kafka and S3 ---------------------------------------------------------------------------------


@pytest.fixture
def broker():
    """A Kafka broker within this process, on loopback, and a producer that writes to it."""
    kafka = pytest.importorskip("confluent_kafka")
    producer = kafka.Producer(
        {"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0}
    )
    (one,) = producer.list_topics(timeout=10).brokers.values()
    return f"{one.host}:{one.port}", producer


@pytest.fixture
def bucket(monkeypatch):
    """An S3 server on loopback, with an empty bucket."""
    server = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    started = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "anyone",
        "AWS_SECRET_ACCESS_KEY": "anything",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="digits")
    yield client
    started.stop()


def produce(producer, topic: str, values: list[bytes | None]) -> None:
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(10) == 0


def test_kafka_gives_the_records_of_memory(broker):
    servers, producer = broker
    produce(producer, "digits", records())
    source = ingest.open_source(f"kafka://{servers}/digits")
    assert source.read() == records()
    assert source.read(70) == records()[:70]
    produce(producer, "digits", records(5))
    assert source.read(200) == records()
    assert source.read() == records() + records(5)


def test_training_goes_on_from_a_kafka_log_that_has_grown(
    broker, tmp_path, undisturbed
):
    servers, producer = broker
    produce(producer, "digits", records())
    source = ingest.Kafka(servers, "digits")
    run(tmp_path, dataclasses.replace(PLAN, steps=12), source=source)
    produce(producer, "digits", records(60))
    assert run(tmp_path, source=source) == state_digest(undisturbed)


def test_a_deleted_kafka_record_is_named(broker):
    servers, producer = broker
    produce(producer, "digits", [records(1)[0], None])
    with pytest.raises(ingest.BadRecord, match="record 1 must have 3137 bytes, got 0"):
        ingest.check(ingest.Kafka(servers, "digits").read())


def test_a_kafka_that_is_not_there_is_named(broker, monkeypatch):
    servers, _ = broker
    with pytest.raises(
        ingest.SourceUnavailable, match=r"kafka://.*/other: .*nknown topic"
    ):
        ingest.Kafka(servers, "other").read()
    monkeypatch.setattr(ingest, "TIMEOUT", 0.5)
    with pytest.raises(
        ingest.SourceUnavailable, match=r"kafka://127\.0\.0\.1:1/digits: "
    ):
        ingest.Kafka("127.0.0.1:1", "digits").read()


def test_s3_gives_the_records_of_memory(bucket, tmp_path, undisturbed):
    whole = records()
    # Not in the order of their keys.
    for number in (2, 0, 3, 1):
        part = b"".join(whole[50 * number : 50 * number + 50])
        bucket.put_object(Bucket="digits", Key=f"train/{number:03}", Body=part)
    bucket.put_object(Bucket="digits", Key="other/000", Body=b"not these")
    source = ingest.open_source("s3://digits/train/")
    assert source.read() == whole
    assert source.read(70) == whole[:70]
    assert run(tmp_path, source=source) == state_digest(undisturbed)


def test_an_s3_object_that_was_cut_is_named(bucket):
    bucket.put_object(Bucket="digits", Key="train/000", Body=records(2)[0][:-4])
    with pytest.raises(
        ingest.BadRecord, match="record 0 must have 3137 bytes, got 3133"
    ):
        ingest.check(ingest.S3("digits", "train/").read())


def test_an_s3_that_is_not_there_is_named(bucket, monkeypatch):
    with pytest.raises(ingest.SourceUnavailable, match=r"s3://other/: .*NoSuchBucket"):
        ingest.S3("other").read()
    with pytest.raises(ingest.BadRecord, match="has no records"):
        ingest.check(ingest.S3("digits", "nothing/").read())
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(
        ingest.SourceUnavailable, match="s3://digits/: Could not connect"
    ):
        ingest.S3("digits").read()
