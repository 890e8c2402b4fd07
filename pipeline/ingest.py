"""Where records come from, and how they become batches.

A source is read once, as a list of records; all sources give the same bytes for the same data.
Training names how many records it began with, so a log that has grown meanwhile changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import grain
import numpy as np

import vgutils as vg

FEATURES, CLASSES = 784, 10
PIXEL = np.dtype("<f4")
RECORD_BYTES = 1 + FEATURES * PIXEL.itemsize
"""A record is the label, one byte, then the pixels: float32, little-endian."""
TIMEOUT = 5.0
"""Seconds to wait for a broker or a server before saying that it does not answer."""


class SourceUnavailable(Exception):
    """A source cannot be read; the message names it and says why."""


class BadRecord(ValueError):
    """Something in a source is not a record; the message says which and why."""


class Source(Protocol):
    """Anything that has records in a fixed order."""

    def read(self, limit: int | None = None) -> list[bytes]:
        """The first `limit` records, or all that are there now.

        Raises:
            SourceUnavailable: The source does not answer.
        """
        ...


class Digits:
    """The training images of `vg.datasets.digits`, in memory."""

    def read(self, limit: int | None = None) -> list[bytes]:
        """As in `Source`."""
        data = vg.datasets.digits()
        pairs = zip(data.x_train, data.y_train, strict=True)
        return [encode(x, int(y)) for x, y in pairs][:limit]


@dataclass(frozen=True)
class File:
    """A file of records, one after the other."""

    path: str

    def read(self, limit: int | None = None) -> list[bytes]:
        """As in `Source`."""
        try:
            with open(self.path, "rb") as file:
                return _records(file.read())[:limit]
        except OSError as error:
            raise SourceUnavailable(f"{self}: {error.strerror}") from error

    def __str__(self) -> str:
        return f"file:{self.path}"


@dataclass(frozen=True)
class Kafka:
    """One partition of a topic: a log, read from its start to its end as of now.

    The offset is the record's number, so no consumer group is needed to know where we were.
    """

    servers: str
    topic: str

    def read(self, limit: int | None = None) -> list[bytes]:
        """As in `Source`."""
        from confluent_kafka import Consumer, KafkaException, TopicPartition

        consumer = Consumer(
            {
                "bootstrap.servers": self.servers,
                "group.id": "unused",  # The client asks for a name; `assign` needs no group.
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
                "log_level": 0,  # What goes wrong is raised below.
            }
        )
        try:
            known = consumer.list_topics(self.topic, timeout=TIMEOUT).topics
            if known[self.topic].error is not None:
                raise KafkaException(known[self.topic].error)
            start = TopicPartition(self.topic, 0)
            start.offset, end = consumer.get_watermark_offsets(start, timeout=TIMEOUT)
            consumer.assign([start])
            records: list[bytes] = []
            wanted = end - start.offset if limit is None else limit
            while len(records) < wanted:
                messages = consumer.consume(wanted - len(records), timeout=TIMEOUT)
                if not messages:
                    raise SourceUnavailable(f"{self} stopped answering")
                for message in messages:
                    error = message.error()
                    if error is None:
                        records.append(message.value() or b"")
                    elif error.name() == "_PARTITION_EOF":
                        return records
                    else:
                        raise KafkaException(error)
            return records
        except KafkaException as error:
            raise SourceUnavailable(f"{self}: {error.args[0].str()}") from error
        finally:
            consumer.close()

    def __str__(self) -> str:
        return f"kafka://{self.servers}/{self.topic}"


@dataclass(frozen=True)
class S3:
    """The objects of a bucket under a prefix, in the order of their keys; each holds records.

    Credentials and the server's address come as boto3 takes them: from the environment
    (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, ...) or its configuration files.
    """

    bucket: str
    prefix: str = ""

    def read(self, limit: int | None = None) -> list[bytes]:
        """As in `Source`."""
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        patience = Config(
            connect_timeout=TIMEOUT, read_timeout=TIMEOUT, retries={"max_attempts": 1}
        )
        records: list[bytes] = []
        try:
            client = boto3.client("s3", config=patience)
            pages = client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix):
                for item in page.get("Contents", []):
                    if limit is not None and len(records) >= limit:
                        return records[:limit]
                    found = client.get_object(Bucket=self.bucket, Key=item["Key"])
                    records += _records(found["Body"].read())
        except (BotoCoreError, ClientError) as error:
            raise SourceUnavailable(f"{self}: {error}") from error
        return records[:limit]

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


def open_source(url: str) -> Source:
    """The source of an address.

    Args:
        url: `digits:`, `file:path`, `kafka://server:port/topic` or `s3://bucket/prefix`.

    Raises:
        ValueError: Another kind of address, or one without its parts.
    """
    parts = urlsplit(url)
    place, path = parts.netloc, parts.path.lstrip("/")
    if parts.scheme == "digits" and not place + path:
        return Digits()
    if parts.scheme == "file" and parts.path and not place:
        return File(parts.path)
    if parts.scheme == "kafka" and place and path:
        return Kafka(place, path)
    if parts.scheme == "s3" and place:
        return S3(place, path)
    raise ValueError(
        "source must be digits:, file:path, kafka://server:port/topic or s3://bucket/prefix, "
        f"got {url!r}"
    )


def _records(whole: bytes) -> list[bytes]:
    """Records that were written one after the other."""
    starts = range(0, len(whole), RECORD_BYTES)
    return [whole[at : at + RECORD_BYTES] for at in starts]


def encode(x: np.ndarray, y: int) -> bytes:
    """One record from (784,) float32 pixels and a label."""
    return bytes([y]) + x.astype(PIXEL).tobytes()


def decode(record: bytes) -> tuple[np.ndarray, np.int32]:
    """The (784,) float32 pixels and the label of a record."""
    return np.frombuffer(record, PIXEL, offset=1), np.int32(record[0])


def check(records: Sequence[bytes]) -> str:
    """Look at every record before anything learns from it.

    Returns:
        The SHA-256 of all of them in their order, in hexadecimal.

    Raises:
        BadRecord: There is none, or one is not a record.
    """
    if not records:
        raise BadRecord("the source has no records")
    digest = hashlib.sha256()
    for number, record in enumerate(records):
        wrong = None
        if len(record) != RECORD_BYTES:
            wrong = f"must have {RECORD_BYTES} bytes, got {len(record)}"
        elif record[0] >= CLASSES:
            wrong = f"must have a label below {CLASSES}, got {record[0]}"
        elif not np.isfinite(decode(record)[0]).all():
            wrong = "must have finite pixels"
        if wrong:
            raise BadRecord(f"record {number} {wrong}")
        digest.update(record)
    return digest.hexdigest()


def batches(records: Sequence[bytes], batch_size: int, seed: int) -> Iterator[Any]:
    """Batches without end: every epoch has all the records, in an order of its own.

    Args:
        records: What `Source.read` gave.
        batch_size: Records a batch; one may span two epochs.
        seed: Chooses the orders.

    Returns:
        An iterator of (batch, 784) float32 and (batch,) int32 arrays. Its `get_state()` is a small
        dictionary; an iterator over the same records goes on exactly there after `set_state`.
    """
    data = grain.MapDataset.source(records).seed(seed).shuffle().repeat()
    # The records are in memory: threads that read ahead would only be in the way.
    options = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    return iter(data.map(decode).batch(batch_size).to_iter_dataset(options))
