"""The types of model versions and promotions, and the calls about them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf import json_format

from halftone.client.calls import Call, make_call
from halftone.client.messages import parse_fields
from halftone.core import errors
from halftone.v1 import models_pb2 as pb

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping, Sequence

    from google.protobuf import message, struct_pb2

T = TypeVar("T")


class PromotionState(StrEnum):
    """The state of a promotion."""

    EMBEDDING = "embedding"
    COMPARING = "comparing"
    SWITCHING = "switching"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUSED = "refused"

    @property
    def is_over(self) -> bool:
        """Return whether the promotion has ended."""
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
        active: Whether it answers searches.
        previous: Whether it answered before the active one; a roll-back returns to it.
        image_count: The number of images in its collection.
        spec: The contents of its spec.json; only from `Client.model_version`.
        metrics: The contents of its metrics.json; only from `Client.model_version`.
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
    """Figures that say how well a version finds labelled images."""

    queries: int
    recall_at_1: float
    mean_average_precision: float
    micro_average_precision: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The comparison of two versions before a promotion.

    Attributes:
        sampled_queries: Images that were searched by in both collections.
        top10_agreement: Mean share of the first ten hits that both versions have in common.
        before: The active version's figures on labelled images; None if they are not known.
        after: The figures of the version to promote; None if they are not known.
        refusal: The reason why the promotion was refused, or would have been refused without
            `force`; empty if there is none.
    """

    sampled_queries: int = 0
    top10_agreement: float = 0.0
    before: RetrievalFigures | None = None
    after: RetrievalFigures | None = None
    refusal: str = ""


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A job that makes another version the one that answers.

    Attributes:
        model_version: The version to promote.
        from_model_version: The version that answered when the job began.
        images_failed: The number of images that the version could not embed.
        seconds_left: Estimated seconds until the end; 0 if it is not known.
        comparison: None until the versions were compared.
        error: The reason why the promotion failed or was refused.
        revision: A number that grows with each change.
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
    """Build the call that returns a page of model versions and the next page's token.

    The rpc is ListModelVersions.

    Args:
        page_size: The most versions on the page, at most 1000; None: 100.
        page_token: The page's token; empty for the first page.
    """
    request = pb.ListModelVersionsRequest(page_size=page_size, page_token=page_token)

    def parse(
        response: pb.ListModelVersionsResponse,
    ) -> tuple[tuple[ModelVersion, ...], str]:
        return tuple(map(parse_version, response.versions)), response.next_page_token

    return _call("ListModelVersions", request, pb.ListModelVersionsResponse, parse)


def get(name: str) -> Call[ModelVersion]:
    """Build the call that returns a model version (rpc GetModelVersion)."""
    request = pb.GetModelVersionRequest(name=name)
    return _call("GetModelVersion", request, pb.ModelVersion, parse_version)


def promote(name: str, *, force: bool, groups: Sequence[Sequence[str]]) -> Call[Promotion]:
    """Build the call that starts a promotion (rpc PromoteModelVersion).

    Args:
        name: The version to promote: `name/version`, or `name` for its newest version.
        force: Whether to switch even if the version is worse than the active one.
        groups: Names of images that show the same picture, to compare the two versions on. Empty:
            the images with the label `group`.
    """
    request = pb.PromoteModelVersionRequest(
        name=name,
        force=force,
        labelled_groups=[pb.LabelledGroup(images=list(group)) for group in groups],
    )
    return _call("PromoteModelVersion", request, pb.Promotion, parse_promotion)


def roll_back() -> Call[Promotion]:
    """Build the call that starts a roll-back (rpc RollBackModelVersion).

    The call is not repeatable, because a second roll-back could undo the first.
    """
    request = pb.RollBackModelVersionRequest()
    call = _call("RollBackModelVersion", request, pb.Promotion, parse_promotion)
    return replace(call, repeatable=False)


def promotion() -> Call[Promotion]:
    """Build the call that returns the promotion that runs, or the last one (rpc GetPromotion)."""
    return _call("GetPromotion", pb.GetPromotionRequest(), pb.Promotion, parse_promotion)


def watch() -> Call[Promotion]:
    """Build the call that streams a promotion: as it is, then after each change.

    The stream ends after the promotion's final state. The rpc is WatchPromotion.
    """
    return _call("WatchPromotion", pb.WatchPromotionRequest(), pb.Promotion, parse_promotion)


def cancel() -> Call[Promotion]:
    """Build the call that stops a promotion (rpc CancelPromotion)."""
    return _call("CancelPromotion", pb.CancelPromotionRequest(), pb.Promotion, parse_promotion)


def delete(name: str) -> Call[None]:
    """Build the call that deletes a model version (rpc DeleteModelVersion)."""
    request = pb.DeleteModelVersionRequest(name=name)
    return _call("DeleteModelVersion", request, pb.DeleteModelVersionResponse, lambda _: None)


def parse_version(message: pb.ModelVersion) -> ModelVersion:
    """Convert a message to a model version."""
    return parse_fields(
        message,
        ModelVersion,
        spec=_parse_struct(message.spec),
        metrics=_parse_struct(message.metrics),
    )


def parse_promotion(message: pb.Promotion) -> Promotion:
    """Convert a message to a promotion."""
    return parse_fields(
        message,
        Promotion,
        state=PromotionState[pb.Promotion.State.Name(message.state)],
        comparison=_parse_comparison(message.comparison)
        if message.HasField("comparison")
        else None,
        error=errors.from_status(message.error) if message.HasField("error") else None,
    )


def _parse_comparison(message: pb.Comparison) -> Comparison:
    return parse_fields(
        message,
        Comparison,
        before=_parse_figures(message.from_figures) if message.HasField("from_figures") else None,
        after=_parse_figures(message.to_figures) if message.HasField("to_figures") else None,
    )


def _parse_figures(message: pb.RetrievalFigures) -> RetrievalFigures:
    return parse_fields(message, RetrievalFigures)


def _parse_struct(struct: struct_pb2.Struct) -> dict[str, Any]:
    return {
        key: _restore_integers(value) for key, value in json_format.MessageToDict(struct).items()
    }


def _restore_integers(value: Any) -> Any:
    """Turn whole floats back into integers: a Struct holds only floats."""
    if isinstance(value, dict):
        return {key: _restore_integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_restore_integers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _call(
    method: str,
    request: message.Message,
    response_class: type[message.Message],
    parse: Callable[..., T],
) -> Call[T]:
    return make_call("models", method, request=request, response_class=response_class, parse=parse)
