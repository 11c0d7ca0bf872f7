"""Promotions through a search service, with a live progress bar, for `halftone models`."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any, Final

import click

from halftone.archive import records
from halftone.cli import output, tables
from halftone.client import PromotionState
from halftone.core import errors
from halftone.core.spelling import compose
from halftone.rendering import json_forms

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from halftone.client import Client, Comparison, Promotion


_EMPTY: Final[tuple[Any, ...]] = ("", None, {}, 0)


def read_groups(path: Path, *, archive: str) -> list[list[str]]:
    """Read groups of images that show the same picture, for example an archive's `groups.json`.

    Args:
        path: A JSON array of objects whose `members` are image ids or resource names.
        archive: The archive of image ids; "" if there are only resource names.

    Returns:
        The resource names of each group.

    Raises:
        errors.InvalidArgument: The file holds something else.
        click.UsageError: The file has image ids, and no archive is named.
    """
    try:
        groups = [
            [compose(str(member)) for member in each["members"]]
            for each in json.loads(path.read_text())
        ]
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise errors.InvalidArgument(
            f"{path} is no list of groups with members.", field="groups"
        ) from error
    if not archive and any(
        not member.startswith("archives/") for group in groups for member in group
    ):
        raise click.UsageError(
            f"The groups in {path} hold image ids: say with --archive NAME of which archive."
        )
    return [
        [
            member
            if member.startswith("archives/")
            else str(records.make_name(archive, image_id=member))
            for member in group
        ]
        for group in groups
    ]


def run_promotion(client: Client, start: Callable[[], Promotion], *, as_json: bool) -> bool:
    """Start a promotion and show it until its end; return False if it did not succeed.

    Ctrl-C ends the display and not the promotion.
    """
    started = start()
    notes = output.make_notes()
    notes.print(
        f"{started.from_model_version} → {started.model_version}  (Ctrl-C ends the showing and not "
        "the promotion; `halftone models cancel` stops it)"
    )
    ended = output.watch(
        client.watch_promotion,
        share=_find_share,
        describe=describe_progress,
        describe_line=describe_progress,
        service="search",
        interrupted="The promotion goes on: `halftone models promotion` tells how it stands, "
        "`halftone models cancel` stops it.",
    )
    return report(ended, as_json=as_json)


def report(promotion: Promotion, *, as_json: bool) -> bool:
    """Print the state of a promotion; return False if it failed."""
    if as_json:
        found = json_forms.job_to_json(promotion)
        output.print_json({key: value for key, value in found.items() if value not in _EMPTY})
    else:
        out = output.make_console()
        if promotion.comparison is not None:
            _print_comparison(promotion, promotion.comparison)
        out.print(_describe(promotion), soft_wrap=True)
    return promotion.state not in {
        PromotionState.FAILED,
        PromotionState.REFUSED,
        PromotionState.CANCELLED,
    }


def _find_share(promotion: Promotion) -> float:
    if promotion.state.is_over:
        return 1.0
    return promotion.images_done / max(promotion.images_total, 1)


def describe_progress(promotion: Promotion) -> str:
    """Return a line about the progress of a promotion."""
    if promotion.state is not PromotionState.EMBEDDING:
        return promotion.state.value
    parts = [f"embedding  {promotion.images_done:,} of {promotion.images_total:,} images"]
    if promotion.images_per_second:
        parts.append(f"{promotion.images_per_second:.0f} images/s")
    if promotion.seconds_left:
        parts.append(f"{dt.timedelta(seconds=round(promotion.seconds_left))} left")
    if promotion.images_failed:
        parts.append(f"{promotion.images_failed} failed")
    return "  ".join(parts)


def _print_comparison(promotion: Promotion, comparison: Comparison) -> None:
    out = output.make_console()
    if comparison.sampled_queries:
        out.print(
            f"Of the first ten hits {comparison.top10_agreement:.1%} are the same "
            f"({comparison.sampled_queries} sampled images)."
        )
    if comparison.before is None or comparison.after is None:
        return
    titles = ("", "R@1", "mAP", "µAP")
    layout = tables.Layout(
        columns=[tables.Column(title=title, right=bool(title)) for title in titles],
        rows=[
            [
                label,
                f"{figures.recall_at_1:.3f}",
                f"{figures.mean_average_precision:.3f}",
                f"{figures.micro_average_precision:.3f}",
            ]
            for label, figures in (
                (promotion.from_model_version, comparison.before),
                (promotion.model_version, comparison.after),
            )
        ],
    )
    tables.print_table(out, layout)
    out.print(f"({comparison.after.queries} labelled images that have a match)")


def _describe(promotion: Promotion) -> str:
    version, before = promotion.model_version, promotion.from_model_version
    match promotion.state:
        case PromotionState.SUCCEEDED:
            lost = f" {promotion.images_failed} images have no vector of it."
            how = f"active again, instead of {before}" if promotion.roll_back else "active"
            earlier = "" if promotion.roll_back else f"; before it: {before}"
            return f"{version} is {how}{earlier}." + lost * bool(promotion.images_failed)
        case PromotionState.REFUSED if promotion.comparison is not None:
            # The service's own message names fields of the API, so it is reworded.
            return (
                f"{before} stays active. {version} is worse: {promotion.comparison.refusal}. "
                "Promote it with --force all the same."
            )
        case PromotionState.REFUSED | PromotionState.FAILED:
            why = promotion.error.message if promotion.error else ""
            return f"{before} stays active. {why}"
        case PromotionState.CANCELLED:
            return f"Stopped; {before} stays active. What was embedded is kept for another try."
    return describe_progress(promotion)
