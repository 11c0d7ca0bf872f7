"""A fake search service that has model versions, too."""

from __future__ import annotations

from google.protobuf import json_format

from halftone.core import errors
from halftone.v1 import models_pb2 as pb
from halftone.v1 import models_pb2_grpc
from tests.support.client.fake_clusters import FakeClusters
from tests.support.client.fake_search import fails

SPEC = {
    "preprocessing": {"size": 112},
    "parents": ["old/1"],
    "initial_weights": {"name": "ImageNet <weights>", "licence": "BSD-3-Clause"},
    "training": {
        "objective": "metric",
        "finished": "2026-11-23",
        "data": [{"name": "<b>press</b>", "images": 7054, "rights": ["Public domain."]}],
    },
}
METRICS = {
    "history": [{"step": 1}],
    "test": {"queries": 40, "recall_at_1": 0.75, "map": 0.5},
    "parent": {"version": "old/1", "test": {"queries": 40, "recall_at_1": 0.625}},
    "press-archive": {
        "metrics": {
            "queries": 155,
            "pairs": 88,
            "recall_at_1": 0.871,
            "recall_at_p90": 0.83,
            "intervals": {"recall_at_1": [0.79, 0.94]},
        }
    },
    "calibration": {"pairs": 1200, "precision_at_90": 0.992, "recall_at_90": 0.847, "on": "some"},
}


class FakeModels(FakeClusters, models_pb2_grpc.ModelServiceServicer):
    """Keeps model versions and the last promotion in memory; one that runs waits for the test.

    Attributes:
        versions: By name.
        promotion: The last one; None if there was none.
    """

    def __init__(self) -> None:
        super().__init__()
        models_pb2_grpc.add_ModelServiceServicer_to_server(self, self._server)
        self.versions: dict[str, pb.ModelVersion] = {}
        self.promotion: pb.Promotion | None = None

    def add_version(self, name: str, *, spec=None, metrics=None, **fields) -> pb.ModelVersion:
        version = pb.ModelVersion(name=name, **{"backbone": "resnet18", "dimension": 2} | fields)
        json_format.ParseDict(spec or {}, version.spec)
        json_format.ParseDict(metrics or {}, version.metrics)
        self.versions[name] = version
        return version

    def ListModelVersions(self, request, context):
        self._begin("ListModelVersions", request, context)
        versions = [pb.ModelVersion() for _ in self.versions]
        for copy, version in zip(versions, self.versions.values(), strict=True):
            copy.CopyFrom(version)
            copy.ClearField("spec")
            copy.ClearField("metrics")
        return pb.ListModelVersionsResponse(versions=versions)

    def GetModelVersion(self, request, context):
        self._begin("GetModelVersion", request, context)
        return self._version(request.name, context)

    def _version(self, name, context):
        if name not in self.versions:
            self._happen(fails(errors.NotFound("There is no such version.")), context)
        return self.versions[name]

    def PromoteModelVersion(self, request, context):
        self._begin("PromoteModelVersion", request, context)
        version = self._version(request.name, context)
        if version.active:
            error = errors.FailedPrecondition("It is active already.", reason="VERSION_ACTIVE")
            self._happen(fails(error), context)
        self.promotion = pb.Promotion(
            id="1",
            model_version=version.name,
            from_model_version=next(each.name for each in self.versions.values() if each.active),
            state=pb.Promotion.EMBEDDING,
            force=request.force,
            images_done=10,
            images_total=40,
            seconds_left=300,
        )
        return self.promotion

    def GetPromotion(self, request, context):
        self._begin("GetPromotion", request, context)
        if self.promotion is None:
            self._happen(fails(errors.NotFound("Nothing was ever promoted.")), context)
        return self.promotion

    def CancelPromotion(self, request, context):
        promotion = self.GetPromotion(request, context)
        promotion.state = pb.Promotion.CANCELLED
        return promotion
