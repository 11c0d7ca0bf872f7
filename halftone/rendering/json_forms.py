"""Converts what the client returns to JSON for programs, as commands print and exports write it.

Dates are ISO 8601, shares and probabilities have six digits.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from halftone.archive.showing import Show
from halftone.core import errors

if TYPE_CHECKING:
    from halftone.client import (
        ClusterJob,
        Hit,
        ImageRecord,
        Overlap,
        OverlapPart,
        Promotion,
        SearchPage,
        Verdict,
    )
    from halftone.client.training import TrainingJob


def page_to_json(page: SearchPage) -> dict[str, Any]:
    """Convert a page of hits."""
    return {
        "model_version": page.model_version,
        "verified_count": page.verified_count,
        "out_of_time_count": page.out_of_time_count,
        "verdicts_unavailable": page.verdicts_unavailable,
        "hits": [{"rank": rank, **hit_to_json(hit)} for rank, hit in enumerate(page, start=1)],
        "next_page_token": page.next_page_token,
    }


def hit_to_json(hit: Hit) -> dict[str, Any]:
    """Convert a hit."""
    return {
        "probability": round(hit.probability, 6),
        "relation": hit.relation.value,
        "similarity": round(hit.similarity, 6),
        "pdq_distance": hit.pdq_distance,
        "words_similarity": _round(hit.words_similarity),
        "mirrored": hit.mirrored,
        "negative": hit.negative,
        "rotation": hit.rotation,
        "verification": {
            "state": hit.verification.state.value,
            "overlaps": [overlap_to_json(overlap) for overlap in hit.overlaps],
        },
        "verdict": verdict_to_json(hit.verdict) if hit.verdict else None,
        "image": record_to_json(hit.image),
        "page": record_to_json(hit.page) if hit.page else None,
    }


def overlap_to_json(
    overlap: Overlap, *, sides: tuple[str, str] = ("query", "image")
) -> dict[str, Any]:
    """Convert an overlap.

    Args:
        overlap: The overlap.
        sides: What the names of fields begin with that belong to the query or to the image, for
            example `query` in `query_share`.
    """
    query, image = sides
    return {
        "inlier_count": overlap.inlier_count,
        "homography": list(overlap.homography),
        f"{query}_polygon": [list(point) for point in overlap.query_polygon],
        f"{image}_polygon": [list(point) for point in overlap.image_polygon],
        f"{query}_share": round(overlap.query_share, 6),
        f"{image}_share": round(overlap.image_share, 6),
        "mirrored": overlap.mirrored,
        "negative": overlap.negative,
        "rotation": round(overlap.rotation, 6),
        "scale": round(overlap.scale, 6),
        "parts": [_part_to_json(part, sides=sides) for part in overlap.parts],
        "differences": [
            {
                "part": _part_to_json(difference.part, sides=sides),
                "share": round(difference.share, 6),
                "certainty": round(difference.certainty, 6),
            }
            for difference in overlap.differences
        ],
        "agreeing_share": _round(overlap.agreeing_share),
        "contradicting_share": _round(overlap.contradicting_share),
    }


def _part_to_json(part: OverlapPart, *, sides: tuple[str, str]) -> dict[str, Any]:
    query, image = sides
    return {
        f"{query}_polygon": [list(point) for point in part.query_polygon],
        f"{image}_polygon": [list(point) for point in part.image_polygon],
    }


def verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    """Convert a verdict; empty fields are left out."""
    values = {
        "name": verdict.name,
        "a": verdict.a,
        "b": verdict.b,
        "decision": verdict.decision.value,
        "note": verdict.note,
        "author": verdict.author,
        "create_time": verdict.create_time.isoformat() if verdict.create_time else None,
        "end_time": verdict.end_time.isoformat() if verdict.end_time else None,
        "overruled": verdict.overruled or None,
        "overruled_verdicts": [verdict_to_json(other) for other in verdict.overruled_verdicts],
        "replaced_images": list(verdict.replaced_images),
    }
    return {key: value for key, value in values.items() if value not in ("", None, [])}


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def record_to_json(record: ImageRecord) -> dict[str, Any]:
    """Convert a record; empty fields are left out, and `show` where all is shown."""
    values = {field.name: _value_to_json(getattr(record, field.name)) for field in fields(record)}
    if record.show is Show.FULL:
        del values["show"]
    return {key: value for key, value in values.items() if value not in ("", None, [], {})}


def job_to_json(job: ClusterJob | Promotion | TrainingJob) -> dict[str, Any]:
    """Convert a job with all its fields."""
    return {field.name: _value_to_json(getattr(job, field.name)) for field in fields(job)}


def _value_to_json(value: Any) -> Any:  # a field of any type
    if isinstance(value, dt.date | dt.datetime):
        return value.isoformat()
    if isinstance(value, errors.HalftoneError):
        return {"reason": value.reason, "message": value.message}
    if isinstance(value, Mapping):
        return {key: _value_to_json(item) for key, item in value.items()}
    if is_dataclass(value):
        return {field.name: _value_to_json(getattr(value, field.name)) for field in fields(value)}
    if hasattr(value, "_asdict"):
        return value._asdict()
    return list(value) if isinstance(value, tuple) else value
