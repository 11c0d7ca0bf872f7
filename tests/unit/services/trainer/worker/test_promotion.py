"""What becomes of a version that is to be promoted, told by a small ModelService."""

from __future__ import annotations

from concurrent import futures

import grpc
import pytest
from grpc_status import rpc_status

from halftone.core import errors
from halftone.services.trainer.worker.promotion import Promoter
from halftone.v1 import models_pb2 as pb
from halftone.v1 import models_pb2_grpc

State = pb.Promotion


class FakeModels(models_pb2_grpc.ModelServiceServicer):
    """Answers with what it is given, one after the other; the last answer again and again."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        models_pb2_grpc.add_ModelServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(None).wait()

    def _answer(self, method, context):
        self.asked.append(method)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, errors.HalftoneError):
            context.abort_with_status(rpc_status.to_status(errors.to_status(answer)))
        return answer

    def PromoteModelVersion(self, request, context):
        return self._answer("promote", context)

    def GetPromotion(self, request, context):
        return self._answer("get", context)

    def CancelPromotion(self, request, context):
        return self._answer("cancel", context)


def promotion(state, **fields):
    return pb.Promotion(model_version="press/2", state=state, **fields)


RUNNING = errors.FailedPrecondition("Another one runs.", reason="PROMOTION_RUNNING")
ACTIVE = errors.FailedPrecondition("It is.", reason="VERSION_ACTIVE")


@pytest.mark.parametrize(
    ("answers", "words", "asked"),
    [
        (
            (promotion(State.EMBEDDING), promotion(State.COMPARING), promotion(State.SUCCEEDED)),
            "press/2 is promoted and answers searches now.",
            ["promote", "get", "get"],
        ),
        (
            (
                errors.Unavailable("Draining."),
                RUNNING,
                promotion(State.EMBEDDING),
                errors.Unavailable("Draining."),
                promotion(State.REFUSED, comparison=pb.Comparison(refusal="mAP fell.")),
            ),
            "not promoted: mAP fell.",
            ["promote", "promote", "promote", "get", "get"],
        ),
        ((ACTIVE,), "press/2 is active.", ["promote"]),
        ((errors.NotFound("No such version."),), "not promoted: No such version.", ["promote"]),
        ((promotion(State.CANCELLED),), "was cancelled", ["promote"]),
        (
            (promotion(State.FAILED, error=errors.to_status(errors.Internal("It broke."))),),
            "not promoted: It broke.",
            ["promote"],
        ),
    ],
)
def test_outcomes(answers, words, asked):
    with FakeModels(*answers) as fake:
        promote = Promoter(search=fake.address, patience=30, pause=0.01)
        assert words in promote("press/2", lambda: False)
        assert fake.asked == asked


def test_another_version_took_its_place():
    other = pb.Promotion(model_version="press/3", state=State.EMBEDDING)
    with FakeModels(promotion(State.EMBEDDING), other) as fake:
        promote = Promoter(search=fake.address, patience=30, pause=0.01)
        assert "another one is" in promote("press/2", lambda: False)


def test_it_stops_when_it_is_told_to_and_when_its_time_is_up():
    with FakeModels(promotion(State.EMBEDDING)) as fake:
        asked = []

        def is_stopped():
            asked.append(None)
            return len(asked) > 3

        promote = Promoter(search=fake.address, patience=30, pause=0.01)
        assert "nobody waited" in promote("press/2", is_stopped)
        assert len(asked) == 4
        promote = Promoter(search=fake.address, patience=0.05, pause=0.01)
        assert "nobody waited" in promote("press/2", lambda: False)


@pytest.mark.parametrize(
    ("running", "asked"),
    [
        (promotion(State.EMBEDDING), ["get", "cancel"]),
        (promotion(State.SUCCEEDED), ["get"]),
        # The job was cancelled while it waited for another version's promotion.
        (pb.Promotion(model_version="press/3", state=State.EMBEDDING), ["get"]),
        (errors.NotFound("There was none."), ["get"]),
    ],
)
def test_only_the_promotion_of_its_own_version_is_cancelled(running, asked):
    with FakeModels(running) as fake:
        Promoter(search=fake.address, patience=30).cancel("press/2")
        assert fake.asked == asked
