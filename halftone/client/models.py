"""The client's part for model versions: what it gives back, and each call once, as in `calls`."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf import json_format

from halftone.client.calls import Call, make_call
from halftone.core import errors
from halftone.v1 import models_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from google.protobuf import message, struct_pb2, timestamp_pb2

T = TypeVar("T")


class PromotionState(StrEnum):
    """What a promotion is doing, or how it ended."""

    EMBEDDING = "embedding"
    COMPARING = "comparing"
    SWITCHING = "switching"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUSED = "refused"

    @property
    def is_over(self) -> bool:
        """Whether nothing happens to the promotion any more."""
        return self not in {
            PromotionState.EMBEDDING,
            PromotionState.COMPARING,
            PromotionState.SWITCHING,
        }


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """A published model version.

    Attributes:
        name: `name/version`.
        active: It answers searches.
        previous: It did before: what a roll-back goes to.
        image_count: Images in its collection.
        spec: The contents of its spec.json; only from `Client.model_version`.
        metrics: The contents of its metrics.json; likewise.
    """

    name: str
    active: bool = False
    previous: bool = False
    dimension: int = 0
    backbone: str = ""
    image_count: int = 0
    publish_time: dt.datetime | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RetrievalFigures:
    """What a version reaches on labelled images."""

    queries: int
    recall_at_1: float
    mean_average_precision: float
    micro_average_precision: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What changes with a promotion.

    Attributes:
        sampled_queries: Images that were searched by in both collections.
        top10_agreement: Mean share of the first ten hits that both versions have in common.
        before: The active version's figures on labelled images, where any are known.
        after: Likewise, of the version to promote.
        refusal: Why it was refused, or would have been without force.
    """

    sampled_queries: int = 0
    top10_agreement: float = 0.0
    before: RetrievalFigures | None = None
    after: RetrievalFigures | None = None
    refusal: str = ""


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """The job that makes another version answer.

    Attributes:
        model_version: Which one.
        from_model_version: The one that answered when it began.
        images_failed: Images that the version could not embed.
        seconds_left: 0 where it is not known.
        comparison: Once it was made.
        error: Why it failed or was refused.
        revision: Grows with each change.
    """

    id: str
    model_version: str
    from_model_version: str
    state: PromotionState
    force: bool = False
    roll_back: bool = False
    images_done: int = 0
    images_total: int = 0
    images_failed: int = 0
    images_per_second: float = 0.0
    seconds_left: float = 0.0
    comparison: Comparison | None = None
    error: errors.HalftoneError | None = None
    create_time: dt.datetime | None = None
    update_time: dt.datetime | None = None
    end_time: dt.datetime | None = None
    revision: int = 0


def list_versions(
    *, page_size: int | None, page_token: str
) -> Call[tuple[tuple[ModelVersion, ...], str]]:
    """ListModelVersions; gives one page's versions and the next page's token."""
    request = pb.ListModelVersionsRequest(page_size=page_size, page_token=page_token)

    def parse(
        response: pb.ListModelVersionsResponse,
    ) -> tuple[tuple[ModelVersion, ...], str]:
        return tuple(map(version_from, response.versions)), response.next_page_token

    return _call("ListModelVersions", request, pb.ListModelVersionsResponse, parse)


def get(name: str) -> Call[ModelVersion]:
    """GetModelVersion."""
    request = pb.GetModelVersionRequest(name=name)
    return _call("GetModelVersion", request, pb.ModelVersion, version_from)


def promote(name: str, *, force: bool, groups: Sequence[Sequence[str]]) -> Call[Promotion]:
    """PromoteModelVersion."""
    request = pb.PromoteModelVersionRequest(
        name=name,
        force=force,
        labelled_groups=[pb.LabelledGroup(images=list(group)) for group in groups],
    )
    return _call("PromoteModelVersion", request, pb.Promotion, promotion_from)


def roll_back() -> Call[Promotion]:
    """RollBackModelVersion. A second one, after the end of the first, would undo it."""
    request = pb.RollBackModelVersionRequest()
    call = _call("RollBackModelVersion", request, pb.Promotion, promotion_from)
    return replace(call, repeatable=False)


def promotion() -> Call[Promotion]:
    """GetPromotion."""
    return _call("GetPromotion", pb.GetPromotionRequest(), pb.Promotion, promotion_from)


def watch() -> Call[Promotion]:
    """WatchPromotion, whose responses are a stream."""
    return _call("WatchPromotion", pb.WatchPromotionRequest(), pb.Promotion, promotion_from)


def cancel() -> Call[Promotion]:
    """CancelPromotion."""
    return _call("CancelPromotion", pb.CancelPromotionRequest(), pb.Promotion, promotion_from)


def delete(name: str) -> Call[None]:
    """DeleteModelVersion."""
    request = pb.DeleteModelVersionRequest(name=name)
    return _call("DeleteModelVersion", request, pb.DeleteModelVersionResponse, lambda _: None)


def version_from(message: pb.ModelVersion) -> ModelVersion:
    """The version in a message."""
    return ModelVersion(
        name=message.name,
        active=message.active,
        previous=message.previous,
        dimension=message.dimension,
        backbone=message.backbone,
        image_count=message.image_count,
        publish_time=_time(message, "publish_time"),
        spec=_plain(message.spec),
        metrics=_plain(message.metrics),
    )


def promotion_from(message: pb.Promotion) -> Promotion:
    """The promotion in a message."""
    return Promotion(
        id=message.id,
        model_version=message.model_version,
        from_model_version=message.from_model_version,
        state=PromotionState[pb.Promotion.State.Name(message.state)],
        force=message.force,
        roll_back=message.roll_back,
        images_done=message.images_done,
        images_total=message.images_total,
        images_failed=message.images_failed,
        images_per_second=message.images_per_second,
        seconds_left=message.seconds_left,
        comparison=_comparison(message.comparison) if message.HasField("comparison") else None,
        error=errors.from_status(message.error) if message.HasField("error") else None,
        create_time=_time(message, "create_time"),
        update_time=_time(message, "update_time"),
        end_time=_time(message, "end_time"),
        revision=message.revision,
    )


def _comparison(message: pb.Comparison) -> Comparison:
    return Comparison(
        sampled_queries=message.sampled_queries,
        top10_agreement=message.top10_agreement,
        before=_figures(message.from_figures) if message.HasField("from_figures") else None,
        after=_figures(message.to_figures) if message.HasField("to_figures") else None,
        refusal=message.refusal,
    )


def _figures(message: pb.RetrievalFigures) -> RetrievalFigures:
    return RetrievalFigures(
        queries=message.queries,
        recall_at_1=message.recall_at_1,
        mean_average_precision=message.mean_average_precision,
        micro_average_precision=message.micro_average_precision,
    )


def _plain(struct: struct_pb2.Struct) -> dict[str, Any]:
    return {key: _whole(value) for key, value in json_format.MessageToDict(struct).items()}


def _whole(value: Any) -> Any:
    """JSON's whole numbers as such: a Struct has only floating ones."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _time(message: pb.Promotion | pb.ModelVersion, name: str) -> dt.datetime | None:
    if not message.HasField(name):
        return None
    value: timestamp_pb2.Timestamp = getattr(message, name)
    return value.ToDatetime(tzinfo=dt.UTC)


def _call(
    method: str,
    request: message.Message,
    response_class: type[message.Message],
    parse: Callable[..., T],
) -> Call[T]:
    return make_call("models", method, request=request, response_class=response_class, parse=parse)
