"""Says in a reader's language what was found, how sure it is, and when pictures were printed.

A probability gets words that people agree on, with the number beside them; words never say more
than the dates do.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Final

from halftone.client import Relation, VerificationState
from halftone.client.types import probability_label
from halftone.rendering import overlaps, wording

if TYPE_CHECKING:
    from halftone.client import Hit, ImageRecord
    from halftone.services.web.words.languages import Language

ALMOST_SURE: Final = 0.99
VERY_LIKELY: Final = 0.9
PROBABLE: Final = 0.5
POSSIBLE: Final = 0.1
_DATE: Final = re.compile(r"([0-9]{4})(?:-(0[1-9]|1[0-2])(?:-([0-9]{2}))?)?([~?%]?)")
_DECADE: Final = re.compile(r"([0-9]{3})X")
_CENTURY: Final = re.compile(r"([0-9]{2})XX")


def say_sureness(hit: Hit, language: Language) -> str:
    """Return how sure it is that a hit shows the same picture: "almost surely the same picture"."""
    _ = language.gettext
    if hit.relation is Relation.SHARED_ELEMENTS:
        return _("Another picture that shares printed furniture")
    if hit.probability >= ALMOST_SURE:
        return _("Almost surely the same picture")
    if hit.probability >= VERY_LIKELY:
        return _("Very likely the same picture")
    if hit.probability >= PROBABLE:
        return _("Probably the same picture")
    if hit.probability >= POSSIBLE:
        return _("Possibly the same picture")
    return _("Hardly the same picture")


def list_traits(hit: Hit, language: Language) -> list[str]:
    """Return what a hit is, in words to follow `say_sureness`: "cropped", "mirrored"."""
    _ = language.gettext
    relations = {
        Relation.SAME_SCAN: _("the same scan"),
        Relation.REPRINT: _("printed again"),
        Relation.CROP_OF: _("it contains the searched picture"),
        Relation.CONTAINS: _("cropped"),
        Relation.MIRRORED: _("mirrored"),
        Relation.COMPOSITE: _("put together differently, as on a plate"),
        Relation.SAME_SCENE: _("the same scene in another exposure"),
        Relation.SHARED_ELEMENTS: _("a frame, a masthead, lettering, a base map or the like"),
        Relation.UNRELATED: _("details do not agree"),
        Relation.ON_PAGE: _("a page and a picture on it: the same printing"),
        Relation.NOT_COMPARED: _("not among those compared in detail"),
    }
    traits = [relations[hit.relation]] if hit.relation in relations else []
    if hit.verification.state is VerificationState.OUT_OF_TIME:
        traits = [_("details were not compared for lack of time")]
    if hit.overlaps:
        if hit.mirrored and hit.relation is not Relation.MIRRORED:
            traits.append(_("mirrored"))
        if hit.rotation:
            traits.append(_("turned by %(degrees)s°", degrees=hit.rotation))
        if hit.negative:
            traits.append(_("as a negative"))
        if hit.relation is not Relation.SHARED_ELEMENTS:
            count = len(overlaps.list_differences(hit))
            if count:
                traits.append(
                    language.ngettext("differs in one place", "differs in %(n)s places", count)
                )
    return traits


def describe_hit(hit: Hit, language: Language) -> str:
    """Return what a hit is: "Almost surely the same picture: cropped, mirrored"."""
    traits = list_traits(hit, language)
    sure = say_sureness(hit, language)
    return f"{sure}{language.colon} {', '.join(traits)}" if traits else sure


def format_probability(probability: float | None, language: Language) -> str:
    """Return a probability with three digits; only certainty is 1.000; "" for None."""
    if probability is None:
        return ""
    return probability_label(probability).replace(".", language.decimal_sign)


def describe_date(image: ImageRecord, language: Language) -> str:
    """Return a record's date in words; a date of a form that has no words stays as it is."""
    text = image.date.strip()
    start, slash, end = text.partition("/")
    if slash and start == end:
        text = start
    elif slash and start and end and ".." not in {start, end}:
        return language.gettext(
            "%(start)s to %(end)s",
            start=_describe_one(start, language),
            end=_describe_one(end, language),
        )
    return _describe_one(text, language) if text else language.gettext("undated")


def _describe_one(text: str, language: Language) -> str:
    _ = language.gettext
    if match := _DECADE.fullmatch(text):
        decade = f"{match[1]}0"
        return _("the %(decade)ss", decade=decade)
    if match := _CENTURY.fullmatch(text):
        return _("the %(century)s00s", century=match[1])
    match = _DATE.fullmatch(text)
    if match is None:
        return text
    year, month, day, doubt = match.groups()
    said = year
    if month and day:
        try:
            said = language.day(dt.date(int(year), int(month), int(day)))
        except ValueError:
            return text
    elif month:
        said = language.month(int(year), int(month))
    return {
        "": "%(date)s",
        "~": _("about %(date)s"),
        "?": _("perhaps %(date)s"),
        "%": _("perhaps about %(date)s"),
    }[doubt] % {"date": said}


def describe_gap(before: ImageRecord, after: ImageRecord, language: Language) -> str:
    """Return the time between two printings in words; "" without dates.

    The words are no more exact than the dates.
    """
    _ = language.gettext
    days = wording.count_days(before, after)
    if days is None:
        return ""
    vague = _measure_vagueness(before) + _measure_vagueness(after)
    if vague == 0 and round(days) <= 0:
        return _("the same day")
    if vague and days < max(vague, 1) / 2:
        return _("about the same time")
    unit, count = _choose_unit(days, vague=vague)
    said = {
        "day": language.ngettext("one day later", "%(n)s days later", count),
        "week": language.ngettext("one week later", "%(n)s weeks later", count),
        "month": language.ngettext("one month later", "%(n)s months later", count),
        "year": language.ngettext("one year later", "%(n)s years later", count),
    }[unit]
    return _("about %(gap)s", gap=said) if vague else said


def say_time_left(seconds: float, language: Language) -> str:
    """Return how long something still takes, "about 5 minutes left"; "" if it is not known."""
    if seconds <= 0:
        return ""
    minutes = round(seconds / 60)
    if minutes < 1:
        return language.gettext("less than a minute left")
    if minutes <= _MOST_MINUTES:
        return language.ngettext("about one minute left", "about %(n)s minutes left", minutes)
    return language.ngettext("about one hour left", "about %(n)s hours left", round(minutes / 60))


_MOST_MINUTES: Final = 90
_MONTH_DAYS: Final = 30.44
_MOST_DAYS, _MOST_WEEKS, _MOST_MONTHS = 13, 9, 23
_VAGUE_DAYS: Final = 100


def _choose_unit(days: float, *, vague: int) -> tuple[str, int]:
    if not vague and days <= _MOST_DAYS:
        return "day", round(days)
    if not vague and days <= _MOST_WEEKS * 7:
        return "week", round(days / 7)
    months = round(days / _MONTH_DAYS)
    if months <= _MOST_MONTHS and vague < _VAGUE_DAYS:
        return "month", max(months, 1)
    return "year", max(round(days / wording.YEAR_DAYS), 1)


def _measure_vagueness(image: ImageRecord) -> int:
    """Return the days by which a record's date is uncertain; 0 for a day."""
    if image.earliest_date is None or image.latest_date is None:
        return 0
    return (image.latest_date - image.earliest_date).days
