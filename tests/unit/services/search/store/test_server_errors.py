"""What a failure of a Qdrant server means: try again, unless the request itself was wrong."""

from __future__ import annotations

import socket
import time
import uuid

import grpc
import pytest
from qdrant_client.http.exceptions import ResponseHandlingException

from halftone.client import retry
from halftone.core import errors
from halftone.services.search.store.server import Patience, ServerCollection, ServerStore
from halftone.services.search.store.server_errors import to_error

Code = grpc.StatusCode


class CallError(grpc.RpcError, grpc.Call):
    """A failed call, as gRPC raises it."""

    def __init__(self, code, details):
        self._code = code
        self._details = details

    def code(self):
        return self._code

    def details(self):
        return self._details

    def initial_metadata(self):
        return ()

    def trailing_metadata(self):
        return ()

    def is_active(self):
        return False

    def time_remaining(self):
        return None

    def cancel(self):
        return False

    def add_callback(self, callback):
        return False


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (Code.UNAVAILABLE, "connection refused"),
        (Code.DEADLINE_EXCEEDED, "Timeout error: Deadline Exceeded"),
        # A node of a cluster that is gone.
        (Code.INTERNAL, "Service internal error: 1 of 1 read operations failed"),
        (Code.INTERNAL, "Service internal error: Failed to apply update to enough replicas"),
        (Code.UNKNOWN, "transport error"),
        (Code.ABORTED, "aborted"),
        (Code.CANCELLED, "operation was cancelled"),
        (Code.FAILED_PRECONDITION, "The replica set for shard 0 has no active replica"),
        (Code.DATA_LOSS, "shard is being recovered"),
        # A key that was changed; the records are as good as before.
        (Code.UNAUTHENTICATED, "Must provide an API key"),
        (Code.PERMISSION_DENIED, "Forbidden: Global access is required"),
    ],
)
def test_what_the_server_cannot_do_now_is_tried_again(code, details):
    error = to_error(CallError(code, details))
    assert isinstance(error, errors.Unavailable)
    assert details in error.message
    # An import takes the record up again on a new stream and does not count it as refused.
    assert retry.is_retryable(errors.from_status(errors.to_status(error)))


@pytest.mark.parametrize(
    "code",
    [Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED, Code.ALREADY_EXISTS, Code.OUT_OF_RANGE],
)
def test_a_request_that_is_wrong_is_a_bug(code):
    assert isinstance(to_error(CallError(code, "wrong vector dimension")), errors.Internal)


def test_a_collection_that_another_process_dropped_is_not_found():
    class Client:
        def delete(self, *_, **__):
            raise CallError(Code.NOT_FOUND, "Not found: Collection `a@b@1` doesn't exist!")

    dropped = ServerCollection(Client(), name="a@b@1", model_version="b/1", dimension=2)
    with pytest.raises(errors.NotFound, match="a@b@1"):
        dropped.delete([uuid.uuid4()])


def test_a_server_that_is_full_says_so():
    full = to_error(CallError(Code.RESOURCE_EXHAUSTED, "too many"))
    assert (type(full), full.retry_after) == (errors.ResourceExhausted, 1.0)
    disk = to_error(CallError(Code.INTERNAL, "No space left on device: WAL buffer size"))
    assert isinstance(disk, errors.StorageFull)


def test_a_connection_that_fails_is_tried_again():
    assert isinstance(to_error(OSError("reset by peer")), errors.Unavailable)
    assert isinstance(to_error(ResponseHandlingException(OSError("gone"))), errors.Unavailable)


def test_a_server_that_is_not_there_is_unavailable():
    store = ServerStore.connect("http://127.0.0.1:1", api_key="", prefix="test")
    with pytest.raises(errors.Unavailable):
        store.model_versions()
    store.close()


def test_a_server_that_hangs_is_told_within_its_deadline():
    """The kernel takes the connection, and nobody ever reads from it, as after SIGSTOP."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        port = hanging.getsockname()[1]
        store = ServerStore.connect(
            f"http://127.0.0.1:{port}", api_key="", prefix="test", patience=Patience(read=1, work=1)
        )
        started = time.monotonic()
        with pytest.raises(
            errors.Unavailable,
            match=rf"127\.0\.0\.1:{port} did not answer in time",
        ) as raised:
            store.model_versions()
        assert time.monotonic() - started < 10
        assert raised.value.reason == "STORE_DOES_NOT_ANSWER"
        store.close()
