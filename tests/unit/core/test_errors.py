"""Errors cross the wire and come back as themselves."""

from __future__ import annotations

import re
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from halftone.core import errors

EXAMPLES = [
    errors.InvalidArgument("No such day.", field="filter.date.start", reason="BAD_DATE"),
    errors.ImageRejected("The file is empty.", field="content", reason="EMPTY"),
    errors.NotFound("Gone.", resource_type="Image", resource_name="archives/a/images/b"),
    errors.AlreadyExists("There.", resource_type="ModelVersion", resource_name="starter/1"),
    errors.FailedPrecondition("Not now.", subject="collection"),
    errors.ModelVersionMismatch("Of starter/1.", subject="starter/1"),
    errors.DataDirectoryError("In use.", subject="data"),
    errors.ResourceExhausted("Full.", retry_after=0.25),
    errors.StorageFull("No space left."),
    errors.Unavailable("Draining.", retry_after=2.0),
    errors.DeadlineExceeded("Too late."),
    errors.Cancelled("Given up."),
    errors.DataLoss("Hash differs.", metadata={"file": "model.safetensors"}),
    errors.Internal("A bug."),
    errors.Unauthenticated("No key."),
    errors.PermissionDenied("Not with this key.", metadata={"scope": "admin"}),
]


ROOT = Path(__file__).parents[3]


def test_the_reasons_that_operators_read_about_are_raised():
    page = (ROOT / "docs" / "operations.md").read_text()
    listed = re.findall(
        r"^\| `([A-Z_]+)` \|", page.partition("## When something is wrong")[2], re.MULTILINE
    )
    code = "".join(
        path.read_text()
        for name in ("halftone", "services")
        for path in (ROOT / name).rglob("*.py")
    )
    raised = set(re.findall(r'\breason(?:=| = )"([A-Z_]+)"', code))
    raised |= set(re.findall(r'\b([A-Z_]+): Final = "\1"', code))
    assert listed
    assert set(listed) <= raised


def all_classes(cls):
    for subclass in cls.__subclasses__():
        yield subclass
        yield from all_classes(subclass)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_round_trip(error):
    back = errors.from_status(errors.to_status(error, request_id="r-1"))
    assert type(back) is type(error)
    fields = {*vars(error), "reason"} - {"request_id"}
    assert {f: getattr(back, f) for f in fields} == {f: getattr(error, f) for f in fields}
    assert back.request_id == "r-1"


def test_every_public_class_has_an_example():
    public = {
        cls
        for cls in all_classes(errors.HalftoneError)
        if cls.__module__ == errors.__name__ and not cls.__name__.startswith("_")
    }
    assert public == {type(error) for error in EXAMPLES}


def test_details_follow_the_table():
    status = errors.to_status(EXAMPLES[0])
    bad_request = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad_request) for detail in status.details)
    assert bad_request.field_violations[0].field == "filter.date.start"
    retry = error_details_pb2.RetryInfo()
    assert any(d.Unpack(retry) for d in errors.to_status(EXAMPLES[7]).details)
    assert retry.retry_delay.ToTimedelta().total_seconds() == 0.25
    # A full disk does not empty itself: nothing invites a retry.
    assert not any(d.Is(retry.DESCRIPTOR) for d in errors.to_status(EXAMPLES[8]).details)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.Unavailable),
        (grpc.StatusCode.NOT_FOUND, errors.NotFound),
        (grpc.StatusCode.DATA_LOSS, errors.DataLoss),
        (grpc.StatusCode.UNKNOWN, errors.Internal),
        (grpc.StatusCode.UNIMPLEMENTED, errors.Internal),
    ],
)
def test_a_foreign_status_becomes_the_class_of_its_code(code, expected):
    assert type(errors.from_status(status_pb2.Status(code=code.value[0], message="x"))) is expected


def test_a_class_name_cannot_contradict_its_code():
    """A peer that sends NOT_FOUND with the class StorageFull gets NotFound, not StorageFull."""
    status = errors.to_status(errors.StorageFull("x"))
    status.code = grpc.StatusCode.NOT_FOUND.value[0]
    assert type(errors.from_status(status)) is errors.NotFound


def test_details_that_a_proxy_made_untrue_are_left_out():
    """It rewrote the code and passed the details on."""
    details = errors.to_status(errors.NotFound("No image.")).SerializeToString()

    class Rewritten(grpc.RpcError):
        def code(self):
            return grpc.StatusCode.UNAVAILABLE

        def details(self):
            return "upstream reset"

        def trailing_metadata(self):
            return (("grpc-status-details-bin", details),)

    error = errors.from_rpc_error(Rewritten())
    assert type(error) is errors.Unavailable
    assert error.message == "upstream reset"


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidArgument(
            "Bad \udcff.", field="\udcff", reason="\udcff", metadata={"\udcff": "\udcff"}
        ),
        errors.NotFound("Bad \udcff.", resource_type="\udcff", resource_name="\udcff"),
        errors.FailedPrecondition("Bad \udcff.", subject="\udcff"),
        errors.Unavailable("Bad \udcff.", reason="\udcff", request_id="\udcff"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_text_that_cannot_be_encoded_crosses_the_wire_as_question_marks(error):
    status = errors.to_status(error)
    back = errors.from_status(status_pb2.Status.FromString(status.SerializeToString()))
    assert type(back) is type(error)
    assert back.message == "Bad ?."
    seen = {key: value for key, value in vars(back).items() if isinstance(value, str)}
    assert "?" in {*seen.values(), *back.metadata.values()}
    assert not any("\udcff" in value for value in seen.values())
