"""A cluster as a timeline: its printings in the order of time, and what holds them together."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from halftone.client.clusters import Link
from halftone.client.types import LIKELY, Relation
from halftone.rendering import alignments, overlaps, wording

if TYPE_CHECKING:
    from halftone.client import Cluster, ClusterMember, ImageRecord
    from halftone.rendering.alignments import Alignment


@dataclass(frozen=True, kw_only=True)
class Printing:
    """A printing and what a timeline says about it.

    Attributes:
        number: Its place in time, from 1.
        date: Its date in words.
        gap: The time since the printing before, in words; empty for the first and without dates.
        span: The first and the last moment of its date in years, as 1914.64; None without a date.
        is_earliest: Whether it is the earliest known printing.
        may_be_earliest: Whether its date leaves open that it is older than the earliest printing.
        is_weakest: Whether it is one end of the weakest link that holds the cluster together.
        is_judged: Whether an archivist said that it is the same picture as another printing.
        link: The link between it and the earliest printing, if there is one.
        alignment: Its place upon the earliest printing, if links lead there.
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
        """Return the printing's record."""
        return self.member.image

    @property
    def weakest(self) -> str:
        """Return how sure its place in the cluster is, in words; `judged` if by an archivist."""
        if self.is_judged and self.member.weakest_link == 1:
            return "judged"
        return wording.format_probability(self.member.weakest_link)


def list_printings(cluster: Cluster) -> tuple[Printing, ...]:
    """Return the printings of a cluster that `Client.cluster` returned, in chronological order."""
    first = cluster.first_image
    direct = _find_direct_links(cluster)
    ways = alignments.align_members(cluster, to=first.name)
    weakest = find_weakest_link(cluster)
    marked = {weakest.a, weakest.b} if weakest and len(cluster.members) > 2 else set()  # noqa: PLR2004 - of two the only link says nothing
    inner = list_inner_links(cluster)
    judged = {name for link in inner if link.verdict for name in (link.a, link.b)}
    printings: list[Printing] = []
    before: ImageRecord | None = None
    for number, member in enumerate(cluster.members, start=1):
        image = member.image
        is_earliest = image.name == first.name
        printings.append(
            Printing(
                number=number,
                member=member,
                date=wording.describe_date(image),
                gap=wording.describe_gap(before, image) if before is not None else "",
                span=wording.find_span(image),
                is_earliest=is_earliest,
                may_be_earliest=not is_earliest and wording.may_precede(image, first),
                is_weakest=image.name in marked,
                is_judged=image.name in judged,
                link=direct.get(image.name),
                alignment=None if is_earliest else ways.get(image.name),
            )
        )
        before = image
    return tuple(printings)


def _find_direct_links(cluster: Cluster) -> dict[str, Link]:
    """Return the link between each printing and the earliest, by the printing's name.

    If several images have the same bytes, only one was compared with other images. Its links hold
    for all of them.
    """
    first, pictures = cluster.first_image.name, alignments.group_same_bytes(cluster)
    exact: dict[frozenset[str], Link] = {}
    compared: dict[frozenset[str | None], Link] = {}
    for link in cluster.links:
        exact.setdefault(frozenset((link.a, link.b)), link)
        if link.verification.overlaps:
            compared.setdefault(frozenset((pictures.get(link.a), pictures.get(link.b))), link)
    links = {}
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
            links[name] = own
    return links


def find_weakest_link(cluster: Cluster) -> Link | None:
    """Return the least probable of the links that are needed to hold a cluster together.

    It is the last link of a spanning tree that takes the most probable links first. Neither a link
    that an archivist confirmed nor one between two copies of a file is ever the weakest; returns
    None if such links alone hold the cluster.
    """
    groups: dict[str, set[str]] = {}
    last = None
    links = list_inner_links(cluster)
    for link in sorted(links, key=_rank_link):
        a, b = groups.get(link.a, {link.a}), groups.get(link.b, {link.b})
        if a is not b and not a & b:
            last = last if is_certain(link) else link
            joined = a | b
            groups.update(dict.fromkeys(joined, joined))
    return last


def _rank_link(link: Link) -> tuple[float, bool, str, str]:
    return (-_strength(link), not is_certain(link), link.a, link.b)


def is_certain(link: Link) -> bool:
    """Return whether there is nothing to doubt: an archivist said so, or it is the same file."""
    return link.verdict is not None or is_same_file(link)


def describe_certainty(cluster: Cluster) -> str:
    """Return in a sentence what holds a cluster together if that is certain, otherwise ""."""
    links = list_inner_links(cluster)
    if not links or find_weakest_link(cluster) is not None:
        return ""
    if all(map(is_same_file, links)):
        return "They are copies of one file."
    if any(map(is_same_file, links)):
        return "Nothing but equal files and what archivists said holds them together."
    return "Nothing but what archivists said holds them together."


def _strength(link: Link) -> float:
    if link.verdict is not None or link.probability is None:
        return 1.0
    return link.probability


def list_inner_links(cluster: Cluster) -> list[Link]:
    """Return the links of which both images are among the members that were returned.

    A huge cluster is returned without some of its members.
    """
    names = {member.image.name for member in cluster.members}
    return [link for link in cluster.links if link.a in names and link.b in names]


def find_longest_gap(printings: tuple[Printing, ...]) -> Printing | None:
    """Return the printing before which the picture was unseen for the longest time.

    None if that is less than a year, or not known.
    """
    dated = [printing for printing in printings if printing.image.earliest_date]
    gaps = [
        ((wording.count_days(before.image, after.image) or 0), after)
        for before, after in itertools.pairwise(dated)
    ]
    days, after = max(gaps, key=lambda gap: gap[0], default=(0.0, None))
    return after if days >= wording.YEAR_DAYS else None


def describe_left_out(cluster: Cluster) -> str:
    """Return a sentence that says how many printings are left out, or "" if all are there."""
    if not cluster.members or len(cluster.members) >= cluster.size:
        return ""
    return f"The first {len(cluster.members):,} of {cluster.size:,} printings are shown."


def summarize(cluster: Cluster) -> str:
    """Return a cluster in one line, for example `4 printings in 3 journals, 1898 to 1923`."""
    journals = cluster.journal_count
    noun = "picture" if are_unlike(cluster) else "printing"
    parts = wording.format_count(cluster.size, noun)
    if journals:
        parts += f" in {wording.format_count(journals, 'journal')}"
    undated = count_undated(cluster)
    without = f"{undated:,} undated" if undated and undated < cluster.size else ""
    return ", ".join(filter(None, (parts, wording.describe_years(cluster), without)))


def count_undated(cluster: Cluster) -> int:
    """Return how many printings have no date."""
    return cluster.undated_count or sum(
        wording.find_span(member.image) is None for member in cluster.members
    )


def find_relation(link: Link, *, of: str) -> Relation:
    """Return how the image `of` of a link is related to the other image.

    Seen from the other side, a crop becomes a picture that contains the crop.
    """
    turned = {Relation.CROP_OF: Relation.CONTAINS, Relation.CONTAINS: Relation.CROP_OF}
    return link.relation if link.a == of else turned.get(link.relation, link.relation)


def describe_evidence(link: Link, *, of: str) -> str:
    """Return in words the evidence for a link, as seen from its image `of`."""
    parts = []
    if link.verdict is not None:
        parts.append(f"an archivist says: {link.verdict.value}")
    overlap = alignments.find_main_overlap(link)
    if overlap is not None:
        mine, other = (
            (overlap.query_share, overlap.image_share)
            if link.a == of
            else (overlap.image_share, overlap.query_share)
        )
        parts.append(wording.format_count(overlap.inlier_count, "matching detail"))
        if link.relation is Relation.SHARED_ELEMENTS:
            parts.append("on elements that pictures share, such as a frame or type")
        else:
            parts.append(f"{mine:.0%} of this printing, {other:.0%} of the other")
        if overlap.mirrored:
            parts.append("mirrored")
        if overlap.negative:
            parts.append("one a negative of the other")
        if len(link.verification.overlaps) > 1:
            parts.append(f"{len(link.verification.overlaps)} parts in common")
        parts += filter(None, [overlaps.count_differences(overlaps.list_differences(link))])
    elif is_same_file(link):
        parts.append("the very same file")
    return ", ".join(parts) or "not compared by details"


def are_unlike(cluster: Cluster) -> bool:
    """Return whether its images are probably different pictures, as two that were compared may be.

    Links of a real cluster are probable, or an archivist said so.
    """
    return bool(cluster.links) and all(
        link.verdict is None and link.probability is not None and link.probability < LIKELY
        for link in cluster.links
    )


def is_same_file(link: Link) -> bool:
    """Return whether a link's images have the same bytes and were therefore not compared."""
    return link.relation is Relation.SAME_SCAN and not link.verification.overlaps
