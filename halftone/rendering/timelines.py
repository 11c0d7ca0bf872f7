"""A cluster told as a timeline: dates and gaps in words, an axis, the way to the earliest printing.

Words never say more than the dates do: from `1903` to `1915` it is about 12 years, not 4,383 days.
"""

from __future__ import annotations

import calendar
import dataclasses
import heapq
import itertools
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from halftone.client.clusters import Link
from halftone.client.types import Relation

if TYPE_CHECKING:
    import datetime as dt

    from halftone.client import Cluster, ClusterMember, ImageRecord, Overlap

Matrix = NDArray[np.float64]

_DATE: Final = re.compile(r"([0-9]{4})(?:-(0[1-9]|1[0-2])(?:-([0-9]{2}))?)?([~?%]?)")
_DECADE: Final = re.compile(r"([0-9]{3})X")
_CENTURY: Final = re.compile(r"([0-9]{2})XX")
_DOUBT: Final = {"": "", "~": "about ", "?": "perhaps ", "%": "perhaps about "}
_MONTH_DAYS: Final = 30.44
_YEAR_DAYS: Final = 365.25
# Up to which count of one unit the next larger one is not used.
_MOST_DAYS, _MOST_WEEKS, _MOST_MONTHS, _YEARS_WITH_MONTHS = 13, 9, 23, 5
# Dates that are known to within so many days are told in weeks and months.
_VAGUE_DAYS: Final = 100
_HORIZON: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """How a printing is laid over the earliest one.

    Attributes:
        homography: float64 [3, 3], takes pixels of the printing to pixels of the earliest.
        steps: Links on the way; 1 where the two were compared with each other.
    """

    homography: Matrix
    steps: int


@dataclass(frozen=True, kw_only=True)
class Printing:
    """A printing in its cluster.

    Attributes:
        number: Its place in time, from 1.
        date: In words.
        gap: Since the printing before, in words; empty for the first and without dates.
        span: First and last moment of its date in years, as 1914.64; None without a date.
        is_earliest: The earliest known printing.
        may_be_earliest: Its date does not say whether it is older than that one.
        is_weakest: It is at an end of the weakest link that holds the cluster together.
        is_judged: An archivist said that it is the same picture as another printing.
        link: Between it and the earliest printing, where there is one.
        alignment: With the earliest printing, where links lead to it.
    """

    number: int
    member: ClusterMember
    date: str
    gap: str
    span: tuple[float, float] | None
    is_earliest: bool
    may_be_earliest: bool
    is_weakest: bool
    is_judged: bool
    link: Link | None
    alignment: Alignment | None

    @property
    def image(self) -> ImageRecord:
        """Its record."""
        return self.member.image

    @property
    def weakest(self) -> str:
        """How sure it is that it belongs there, for people: `judged` where a person said so."""
        if self.is_judged and self.member.weakest_link == 1:
            return "judged"
        return figure(self.member.weakest_link)


def printings(cluster: Cluster) -> tuple[Printing, ...]:
    """The printings of a cluster that `Client.cluster` gave, in its order."""
    first = cluster.first_image
    direct = _direct_links(cluster)
    ways = alignments(cluster, to=first.name)
    weakest = weakest_link(cluster)
    marked = {weakest.a, weakest.b} if weakest and len(cluster.members) > 2 else set()  # noqa: PLR2004 - of two the only link says nothing
    judged = {name for link in inner_links(cluster) if link.verdict for name in (link.a, link.b)}
    found: list[Printing] = []
    before: ImageRecord | None = None
    for number, member in enumerate(cluster.members, start=1):
        image = member.image
        is_earliest = image.name == first.name
        found.append(
            Printing(
                number=number,
                member=member,
                date=date_words(image),
                gap=gap_words(before, image) if before is not None else "",
                span=_span(image),
                is_earliest=is_earliest,
                may_be_earliest=not is_earliest and _may_precede(image, first),
                is_weakest=image.name in marked,
                is_judged=image.name in judged,
                link=direct.get(image.name),
                alignment=None if is_earliest else ways.get(image.name),
            )
        )
        before = image
    return tuple(found)


def _pictures(cluster: Cluster) -> dict[str, str]:
    """For each member the first one with the same bytes, itself or another."""
    firsts: dict[str, str] = {}
    return {
        member.image.name: firsts.setdefault(
            member.image.content_sha256 or member.image.name, member.image.name
        )
        for member in cluster.members
    }


def _direct_links(cluster: Cluster) -> dict[str, Link]:
    """For each printing the link between it and the earliest, where there is one.

    Of several images with the same bytes one alone has the links that were found by comparing
    them; they hold for all.
    """
    first, pictures = cluster.first_image.name, _pictures(cluster)
    exact: dict[frozenset[str], Link] = {}
    compared: dict[frozenset[str | None], Link] = {}
    for link in cluster.links:
        exact.setdefault(frozenset((link.a, link.b)), link)
        if link.verification.overlaps:
            compared.setdefault(frozenset((pictures.get(link.a), pictures.get(link.b))), link)
    found = {}
    for name, picture in pictures.items():
        own = exact.get(frozenset((name, first)))
        if own is None or not own.verification.overlaps:
            other = compared.get(frozenset((picture, pictures[first])))
            if picture == pictures[first]:
                own = own or Link(a=first, b=name, probability=1.0, relation=Relation.SAME_SCAN)
            elif other is not None:
                a, b = (name, first) if pictures.get(other.a) == picture else (first, name)
                own = dataclasses.replace(other, a=a, b=b, verdict=own.verdict if own else None)
        if own is not None and name != first:
            found[name] = own
    return found


def weakest_link(cluster: Cluster) -> Link | None:
    """Of the links that are needed to hold a cluster together the least probable.

    That is the last one of a spanning tree that takes the most probable links first. What an
    archivist said is never it: None where that alone holds the cluster together.
    """
    groups: dict[str, set[str]] = {}
    last = None
    for link in sorted(inner_links(cluster), key=lambda link: (-_strength(link), link.a, link.b)):
        a, b = groups.get(link.a, {link.a}), groups.get(link.b, {link.b})
        if a is not b and not a & b:
            last = link if link.verdict is None else last
            joined = a | b
            groups.update(dict.fromkeys(joined, joined))
    return last


def is_held_by_verdicts(cluster: Cluster) -> bool:
    """Whether nothing but what archivists said holds a cluster together."""
    judged = any(link.verdict for link in inner_links(cluster))
    return judged and weakest_link(cluster) is None


def _strength(link: Link) -> float:
    if link.verdict is not None or link.probability is None:
        return 1.0
    return link.probability


def inner_links(cluster: Cluster) -> list[Link]:
    """The links between the members that are there; of a huge cluster not all are."""
    names = {member.image.name for member in cluster.members}
    return [link for link in cluster.links if link.a in names and link.b in names]


def longest_gap(found: tuple[Printing, ...]) -> Printing | None:
    """The printing before which the picture was longest unseen, where that was a year at least."""
    dated = [printing for printing in found if printing.image.earliest_date]
    gaps = [
        ((_days(before.image, after.image) or 0), after)
        for before, after in itertools.pairwise(dated)
    ]
    days, after = max(gaps, key=lambda gap: gap[0], default=(0.0, None))
    return after if days >= _YEAR_DAYS else None


def left_out(cluster: Cluster) -> str:
    """A sentence where not all members came; else empty."""
    if not cluster.members or len(cluster.members) >= cluster.size:
        return ""
    return f"The first {len(cluster.members):,} of {cluster.size:,} printings are shown."


def summary(cluster: Cluster) -> str:
    """For example `4 printings in 3 journals, 1898 to 1923`."""
    journals = cluster.journal_count
    parts = f"{_counted(cluster.size, 'printing')}"
    if journals:
        parts += f" in {_counted(journals, 'journal')}"
    return ", ".join(part for part in (parts, years_words(cluster)) if part)


def years_words(cluster: Cluster) -> str:
    """For example `1898 to 1923 (25 years)`; empty without dates."""
    if cluster.earliest_date is None or cluster.latest_date is None:
        return ""
    start, end = cluster.earliest_date.year, cluster.latest_date.year
    if start == end:
        return str(start)
    span = f" ({_counted(cluster.span_years, 'year')})" if cluster.span_years else ""
    return f"{start} to {end}{span}"


def date_words(image: ImageRecord) -> str:
    """A record's date for people: `22 August 1914`, `about 1914`, `the 1910s`; else as written."""
    text = image.date.strip()
    start, slash, end = text.partition("/")
    if slash and start and end and ".." not in {start, end}:
        return f"{_one_date(start)} to {_one_date(end)}"
    return _one_date(text) if text else "undated"


def _one_date(text: str) -> str:
    if match := _DECADE.fullmatch(text):
        return f"the {match[1]}0s"
    if match := _CENTURY.fullmatch(text):
        return f"the {match[1]}00s"
    match = _DATE.fullmatch(text)
    if match is None:
        return text
    year, month, day, doubt = match.groups()
    words = [str(int(day))] if day else []
    if month:
        words.append(calendar.month_name[int(month)])
    return _DOUBT[doubt] + " ".join([*words, year])


def gap_words(before: ImageRecord, after: ImageRecord) -> str:
    """The time between two printings, no finer than their dates; empty where one has none."""
    days = _days(before, after)
    if days is None:
        return ""
    first, second = _interval(before), _interval(after)
    vague = _length(first) + _length(second)
    if vague == 0:
        return _exactly(round(days))
    if second[0] <= first[1]:
        if _length(first) == _length(second) and first == second:
            whole = first[0].year == first[1].year
            month = whole and first[0].month == first[1].month
            return f"the same {'month' if month else 'year'}" if whole else "the same years"
        return "about the same time"
    if vague < _VAGUE_DAYS and days <= _MOST_MONTHS * _MONTH_DAYS:
        return f"about {_counted(max(round(days / _MONTH_DAYS), 1), 'month')} later"
    return f"about {_counted(max(round(days / _YEAR_DAYS), 1), 'year')} later"


def _exactly(days: int) -> str:
    if days <= 0:
        return "the same day"
    if days <= _MOST_DAYS:
        return f"{_counted(days, 'day')} later"
    if days <= _MOST_WEEKS * 7:
        return f"{_counted(round(days / 7), 'week')} later"
    months = round(days / _MONTH_DAYS)
    if months <= _MOST_MONTHS:
        return f"{_counted(months, 'month')} later"
    years, rest = divmod(months, 12)
    if rest and years < _YEARS_WITH_MONTHS:
        return f"{_counted(years, 'year')} and {_counted(rest, 'month')} later"
    return f"{_counted(round(days / _YEAR_DAYS), 'year')} later"


def _days(before: ImageRecord, after: ImageRecord) -> float | None:
    """Between the middles of two dates."""
    if before.earliest_date is None or after.earliest_date is None:
        return None
    first, second = _interval(before), _interval(after)
    return ((second[0] - first[0]).days + (second[1] - first[1]).days) / 2


def _interval(image: ImageRecord) -> tuple[dt.date, dt.date]:
    start = image.earliest_date or image.latest_date
    if start is None:
        raise ValueError(f"{image.name} has no date.")
    return start, image.latest_date or start


def _length(days: tuple[dt.date, dt.date]) -> int:
    return (days[1] - days[0]).days


def _may_precede(image: ImageRecord, first: ImageRecord) -> bool:
    if image.earliest_date is None or first.earliest_date is None:
        return False
    return _interval(image)[0] <= _interval(first)[1] and (
        _length(_interval(image)) > 0 or _length(_interval(first)) > 0
    )


def _span(image: ImageRecord) -> tuple[float, float] | None:
    if image.earliest_date is None and image.latest_date is None:
        return None
    start, end = _interval(image)
    # The last day is over at midnight.
    return _year(start), max(_year(end) + 1 / _YEAR_DAYS, _year(start))


def _year(day: dt.date) -> float:
    return day.year + (day.timetuple().tm_yday - 1) / (365 + calendar.isleap(day.year))


def ticks(start: float, end: float, *, most: int) -> tuple[int, ...]:
    """Round years within a stretch of time, at most `most`, at least one."""
    for step in (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000):
        first = int(-(-start // step) * step)
        years = tuple(range(first, int(end) + 1, step))
        if len(years) <= most:
            return years or (int(start),)
    return (int(start),)


def alignments(cluster: Cluster, *, to: str) -> dict[str, Alignment]:
    """For each image that links lead to the image `to`: how it is laid over that one.

    The way with the fewest links is taken, since each adds its own error; of several the one whose
    links are the most probable. Images with the same bytes lie alike, without a link.
    """
    pictures = _pictures(cluster)
    edges: dict[str, list[tuple[str, float, Matrix]]] = defaultdict(list)
    for link in cluster.links:
        overlap = main_overlap(link)
        matrix = _matrix(overlap) if overlap is not None else None
        if matrix is not None and link.probability is not None:
            a, b = pictures.get(link.a, link.a), pictures.get(link.b, link.b)
            edges[b].append((a, link.probability, matrix))
            back: Matrix = np.linalg.inv(matrix).astype(np.float64)
            edges[a].append((b, link.probability, back))
    to = pictures.get(to, to)
    found = {to: Alignment(homography=np.eye(3), steps=0)}
    waiting = [(1, -probability, name, to) for name, probability, _ in edges[to]]
    heapq.heapify(waiting)
    while waiting:
        steps, doubt, name, through = heapq.heappop(waiting)
        if name in found:
            continue
        # An edge under `through` takes pixels of the neighbour to pixels of `through`.
        matrix = next(matrix for other, _, matrix in edges[through] if other == name)
        product = found[through].homography @ matrix
        found[name] = Alignment(homography=product / product[2, 2], steps=steps)
        for other, probability, _ in edges[name]:
            if other not in found:
                # Of a way its least probable link counts.
                heapq.heappush(waiting, (steps + 1, max(doubt, -probability), other, name))
    copies = {name: found[picture] for name, picture in pictures.items() if picture in found}
    return {**found, **copies}


def main_overlap(link: Link) -> Overlap | None:
    """The largest overlap of a link, if its pictures were compared and share one."""
    return link.verification.overlaps[0] if link.verification.overlaps else None


def _matrix(overlap: Overlap) -> Matrix | None:
    if len(overlap.homography) != 9:  # noqa: PLR2004 - 3 by 3
        return None
    matrix = np.array(overlap.homography, dtype=np.float64).reshape(3, 3)
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < _HORIZON:
        return None
    return matrix


def project(matrix: Matrix, points: Matrix) -> Matrix | None:
    """Points [N, 2] through a homography; None where some lie beyond the horizon."""
    homogeneous = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    if (homogeneous[:, 2] <= _HORIZON).any():
        return None
    projected: Matrix = homogeneous[:, :2] / homogeneous[:, 2:]
    return projected


def relation_of(link: Link, *, of: str) -> Relation:
    """How one of a link's images is related to the other; a crop is one from one side only."""
    turned = {Relation.CROP_OF: Relation.CONTAINS, Relation.CONTAINS: Relation.CROP_OF}
    return link.relation if link.a == of else turned.get(link.relation, link.relation)


def figure(probability: float | None) -> str:
    """A probability for people: what is nearly certain is not called certain; none is empty."""
    if probability is None:
        return ""
    nearly = 0.9995 <= probability < 1  # noqa: PLR2004 - what would be rounded up to 1
    return ">0.999" if nearly else f"{probability:.3f}"


def evidence(link: Link, *, of: str) -> str:
    """What speaks for a link, in words, as seen from one of its images."""
    parts = []
    if link.verdict is not None:
        parts.append(f"an archivist says: {link.verdict.value}")
    overlap = main_overlap(link)
    if overlap is not None:
        mine, other = (
            (overlap.query_share, overlap.image_share)
            if link.a == of
            else (overlap.image_share, overlap.query_share)
        )
        parts.append(_counted(overlap.inlier_count, "matching detail"))
        parts.append(f"{mine:.0%} of this printing, {other:.0%} of the other")
        if overlap.mirrored:
            parts.append("mirrored")
        if len(link.verification.overlaps) > 1:
            parts.append(f"{len(link.verification.overlaps)} parts in common")
    elif is_same_file(link):
        parts.append("the very same file")
    return ", ".join(parts) or "not compared by details"


def is_same_file(link: Link) -> bool:
    """Whether a link holds because its images have the same bytes; nothing was compared then."""
    return link.relation is Relation.SAME_SCAN and not link.verification.overlaps


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
