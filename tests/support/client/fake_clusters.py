"""A small cluster service for tests, beside the search service it needs: real gRPC, in memory."""

from __future__ import annotations

import datetime as dt
import io
import json
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from halftone.archive import dates, showing
from halftone.core import errors
from halftone.v1 import clusters_pb2 as pb
from halftone.v1 import clusters_pb2_grpc, search_pb2
from tests.support.client.fake_search import FakeSearch, fails

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 400, 300


def scene(*, mirrored: bool = False, box: tuple[int, int, int, int] | None = None) -> bytes:
    """A JPEG that looks different everywhere; a part of it, or its mirror."""
    image = Image.new("L", (WIDTH, HEIGHT), 225)
    draw = ImageDraw.Draw(image)
    draw.rectangle((30, 180, 380, 290), fill=90)
    draw.polygon([(60, 180), (150, 60), (240, 180)], fill=40)
    draw.ellipse((290, 40, 350, 100), fill=160)
    if mirrored:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if box is not None:
        image = image.crop(box)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG")
    return buffer.getvalue()


class FakeClusters(FakeSearch, clusters_pb2_grpc.ClusterServiceServicer):
    """Clusters are those that links hold together; a verdict takes effect at once.

    Attributes:
        thumbnails: Of the images that have one of their own.
        links: By the pair of names.
        jobs: The newest last; a watched one is over after `job_polls` answers.
        contradicted: Verdicts that lose their effect by the next one that is said or taken back.
        restored: Verdicts that have it again by that.
    """

    def __init__(self) -> None:
        super().__init__()
        clusters_pb2_grpc.add_ClusterServiceServicer_to_server(self, self._server)
        self.thumbnails: dict[str, bytes] = {}
        self.links: dict[tuple[str, str], pb.Link] = {}
        self.contradicted: list[pb.Verdict] = []
        self.restored: list[pb.Verdict] = []
        self.jobs: list[pb.ClusterJob] = []
        self.job_polls = 2
        self.job_end = pb.ClusterJob.SUCCEEDED

    def add_printing(self, name: str, *, date: str = "", thumbnail: bytes = b"", **fields) -> str:
        """An image of the scene, `archives/a/images/{name}`."""
        full = f"archives/a/images/{name}"
        size = Image.open(io.BytesIO(thumbnail)).size if thumbnail else (WIDTH, HEIGHT)
        record = search_pb2.Image(
            name=full, date=date, width=2 * size[0], height=2 * size[1], **fields
        )
        if date:
            days = dates.parse(date)
            record.earliest_date = days.earliest.isoformat() if days.earliest else ""
            record.latest_date = days.latest.isoformat() if days.latest else ""
        self.records[full] = record
        self.thumbnails[full] = thumbnail or scene()
        return full

    def put_on_page(self, name: str, region: tuple[int, int, int, int], **fields) -> str:
        """A page on which an image stands; returns the page's name."""
        page = self.add_printing(f"pages/{name.rpartition('/')[2]}", **fields)
        image = self.records[name]
        image.page_image = page
        image.page_region.x, image.page_region.y = region[:2]
        image.page_region.width, image.page_region.height = region[2:]
        return page

    def link(
        self,
        a: str,
        b: str,
        *,
        probability: float = 0.99,
        homography: Sequence[float] = (1, 0, 0, 0, 1, 0, 0, 0, 1),
        relation: int = search_pb2.Hit.REPRINT,
        verified: bool = True,
        **overlap,
    ) -> None:
        """The pictures of two images are the same."""
        link = pb.Link(a=a, b=b, probability=probability, relation=relation)
        if verified:
            corners = {}
            for key, name in (("query_polygon", a), ("image_polygon", b)):
                width, height = self.records[name].width, self.records[name].height
                corners[key] = [
                    search_pb2.Point(x=x, y=y)
                    for x, y in ((0, 0), (width, 0), (width, height), (0, height))
                ]
            values = {"inlier_count": 40, "query_share": 1, "image_share": 1, **corners, **overlap}
            link.verification.state = search_pb2.Verification.OVERLAPPING
            link.verification.overlaps.add(homography=homography, **values)
        self.links[a, b] = link

    def differ(
        self,
        a: str,
        b: str,
        *,
        boxes: tuple[tuple[int, int, int, int], tuple[int, int, int, int]],
        share: float = 0.03,
        certainty: float = 0.97,
    ) -> None:
        """Two linked images differ in boxes (left, top, right, bottom) of `a` and of `b`."""
        polygons = [
            [
                search_pb2.Point(x=x, y=y)
                for x, y in ((left, top), (right, top), (right, bottom), (left, bottom))
            ]
            for left, top, right, bottom in boxes
        ]
        part = search_pb2.OverlapPart(query_polygon=polygons[0], image_polygon=polygons[1])
        (overlap,) = self.links[a, b].verification.overlaps
        overlap.differences.add(part=part, share=share, certainty=certainty)

    def story(self) -> list[str]:
        """Five printings of one picture in three journals, and two of another; their names."""
        first = self.add_printing(
            *("sphere/1",), date="1898-05-01", journal="The Sphere", page="3", caption="A <house>"
        )
        mirror = self.add_printing(
            *("illu/7",),
            date="1898-07-20",
            journal="L'Illustration",
            caption="Une maison & son toit",
            language="fr",
            thumbnail=scene(mirrored=True),
        )
        crop = self.add_printing(
            *("woche/2",),
            date="1909",
            journal="Die Woche",
            caption="Das Haus",
            source_uri="https://archive.example/woche/2.jpg",
            thumbnail=scene(box=(200, 0, 400, 300)),
        )
        again = self.add_printing("woche/9", date="1909", journal="Die Woche")
        undated = self.add_printing("album", journal="", caption="")
        self.link(
            *(first, mirror),
            probability=0.998,
            homography=(-1, 0, 2 * WIDTH, 0, 1, 0, 0, 0, 1),
            relation=search_pb2.Hit.MIRRORED,
            mirrored=True,
        )
        self.link(
            *(crop, first),
            homography=(1, 0, WIDTH, 0, 1, 0, 0, 0, 1),
            image_share=0.5,
            relation=search_pb2.Hit.CROP_OF,
            image_polygon=[
                search_pb2.Point(x=x, y=y) for x, y in ((400, 0), (800, 90), (800, 600), (400, 600))
            ],
        )
        self.link(again, mirror, homography=(-1, 0, 2 * WIDTH, 0, 1, 0, 0, 0, 1))
        self.link(again, undated, probability=0.83)
        other = [
            self.add_printing("other/1", date="1920", journal="The Sphere"),
            self.add_printing("other/2", date="1921", journal="The Graphic"),
        ]
        self.link(*other, verified=False)
        return [first, mirror, crop, again, undated, *other]

    def _holding(self) -> list[pb.Verdict]:
        return [verdict for verdict in self.verdicts if not verdict.HasField("end_time")]

    def _clusters(self) -> list[pb.Cluster]:
        apart = {
            frozenset((verdict.a, verdict.b))
            for verdict in self._holding()
            if verdict.decision == pb.Verdict.DIFFERENT
        }
        links = [
            link
            for (a, b), link in self.links.items()
            if frozenset((a, b)) not in apart and a in self.records and b in self.records
        ]
        for verdict in self._holding():
            if verdict.decision == pb.Verdict.SAME:
                known = [link for link in links if {link.a, link.b} == {verdict.a, verdict.b}]
                for link in known:
                    link.verdict = pb.Verdict.SAME
                if not known:
                    links.append(pb.Link(a=verdict.a, b=verdict.b, verdict=pb.Verdict.SAME))
        groups: dict[str, set[str]] = {}
        for link in links:
            joined = groups.get(link.a, {link.a}) | groups.get(link.b, {link.b})
            for name in joined:
                groups[name] = joined
        found = {min(names): names for names in groups.values()}
        return [self._cluster(names, links) for _, names in sorted(found.items())]

    def _cluster(self, names: set[str], links: list[pb.Link]) -> pb.Cluster:
        images = sorted(
            (self.records[name] for name in names),
            key=lambda image: (image.earliest_date or "9", image.name),
        )
        own = [link for link in links if link.a in names]
        cluster = pb.Cluster(
            name=f"clusters/{min(names).rpartition('images/')[2].replace('/', '-')}",
            size=len(names),
            journals=dict.fromkeys(image.journal for image in images if image.journal),
            weakest_link=min(map(_strength, own)),
            first_image=images[0],
            links=sorted(own, key=lambda link: -_strength(link)),
        )
        cluster.update_time.FromDatetime(dt.datetime(2025, 1, 2, 3, 4, 5, tzinfo=dt.UTC))
        cluster.journal_count = len(cluster.journals)
        dated = [image for image in images if image.earliest_date]
        cluster.undated_count = len(images) - len(dated)
        if dated:
            cluster.earliest_date = dated[0].earliest_date
            cluster.latest_date = max(image.latest_date for image in dated)
            span = _day(cluster.latest_date) - _day(cluster.earliest_date)
            cluster.span_years = int(span.days / 365.25)
        for before, image in zip([None, *images], images, strict=False):
            mine = [_strength(link) for link in own if image.name in {link.a, link.b}]
            member = cluster.members.add(
                image=image,
                weakest_link=max(mine),
                link_count=len(mine),
                page=self.records.get(image.page_image),
            )
            if before is not None and before.earliest_date and image.earliest_date:
                gap = _day(image.earliest_date) - _day(before.earliest_date)
                member.gap_days = gap.days
        return cluster

    def CreateClusterJob(self, request, context):
        self._begin("CreateClusterJob", request, context)
        for job in self.jobs:
            if job.state == pb.ClusterJob.RUNNING:
                return job
        job = pb.ClusterJob(
            name=f"clusterJobs/{len(self.jobs) + 1}", state=pb.ClusterJob.RUNNING, image_count=7
        )
        job.create_time.FromDatetime(dt.datetime(2025, 1, 2, tzinfo=dt.UTC))
        self.jobs.append(job)
        return job

    def GetClusterJob(self, request, context):
        self._begin("GetClusterJob", request, context)
        found = [job for job in self.jobs if job.name == request.name]
        if not found:
            self._happen(fails(errors.NotFound(f"There is no {request.name}.")), context)
        job = found[0]
        if job.state == pb.ClusterJob.RUNNING:
            job.searched_count = min(job.searched_count + 4, 7)
            self.job_polls -= 1
            if self.job_polls <= 0:
                job.state = self.job_end
                job.error = "The store is full." if self.job_end == pb.ClusterJob.FAILED else ""
                job.cluster_count, job.clustered_image_count, job.largest_cluster_size = 2, 7, 5
        return job

    def ListClusterJobs(self, request, context):
        self._begin("ListClusterJobs", request, context)
        return pb.ListClusterJobsResponse(jobs=reversed(self.jobs))

    def CancelClusterJob(self, request, context):
        self._begin("CancelClusterJob", request, context)
        for job in self.jobs:
            if job.name == request.name and job.state == pb.ClusterJob.RUNNING:
                job.state = pb.ClusterJob.CANCELLED
                return job
        error = errors.FailedPrecondition(f"{request.name} is over.", subject=request.name)
        return self._happen(fails(error), context)

    def ListClusters(self, request, context):
        self._begin("ListClusters", request, context)
        names = {image.name for image in self._under(request.filter)}
        found = [
            cluster
            for cluster in self._clusters()
            if names & {member.image.name for member in cluster.members}
            and cluster.size >= request.min_size
            and cluster.journal_count >= request.min_journal_count
            and cluster.span_years >= request.min_span_years
            and (
                not request.HasField("max_weakest_link")
                or cluster.weakest_link <= request.max_weakest_link
            )
        ]
        found.sort(key=lambda cluster: -cluster.size)
        for cluster in found:
            del cluster.members[:], cluster.links[:]
        start = int(request.page_token or 0)
        end = start + (request.page_size or 50)
        return pb.ListClustersResponse(
            clusters=found[start:end],
            next_page_token=str(end) if end < len(found) else "",
            total_count=len(found),
        )

    def ListPairsToJudge(self, request, context):
        """The links that nobody has judged, the least probable first."""
        self._begin("ListPairsToJudge", request, context)
        judged = {frozenset((verdict.a, verdict.b)) for verdict in self._holding()}
        waiting = sorted(
            (
                (link, cluster.name, cluster.size)
                for cluster in self._clusters()
                for link in cluster.links
                if frozenset((link.a, link.b)) not in judged
                and request.cluster in {"", cluster.name}
            ),
            key=lambda found: (_strength(found[0]), found[0].a, found[0].b),
        )
        # A token is the place of the last pair, so that it stays right when pairs are judged.
        after = tuple(json.loads(request.page_token)) if request.page_token else (-1.0, "", "")
        rest = [each for each in waiting if (_strength(each[0]), each[0].a, each[0].b) > after]
        pairs = rest[: request.page_size or 20]
        last = pairs[-1][0] if pairs else None
        return pb.ListPairsToJudgeResponse(
            pairs=[
                pb.PairToJudge(
                    a=self.records[link.a],
                    b=self.records[link.b],
                    probability=_strength(link),
                    relation=link.relation,
                    verification=link.verification,
                    reason=pb.PairToJudge.WEAKEST_LINK,
                    priority=1 - _strength(link),
                    a_cluster=cluster,
                    b_cluster=cluster,
                    affected_count=size,
                )
                for link, cluster, size in pairs
            ],
            next_page_token=json.dumps((_strength(last), last.a, last.b))
            if last is not None and len(pairs) < len(rest)
            else "",
            remaining_count=len(rest),
            total_count=len(waiting),
        )

    def GetCluster(self, request, context):
        self._begin("GetCluster", request, context)
        for cluster in self._clusters():
            if request.name in {cluster.name, *(member.image.name for member in cluster.members)}:
                return cluster
        if request.name.startswith("archives/"):
            self._find(request.name, context)
            error = errors.NotFound(f"{request.name} is in no cluster.")
        else:
            error = errors.NotFound(f"There is no cluster {request.name}.")
        return self._happen(fails(error), context)

    def JudgePair(self, request, context):
        self._begin("JudgePair", request, context)
        a, b = sorted((request.a, request.b))
        self._find(a, context)
        self._find(b, context)
        now = dt.datetime(2025, 3, 4, 5, 6, len(self.verdicts), tzinfo=dt.UTC)
        for verdict in self._holding():
            if (verdict.a, verdict.b) == (a, b):
                verdict.end_time.FromDatetime(now)
        verdict = pb.Verdict(
            name=f"verdicts/{len(self.verdicts) + 1}",
            a=a,
            b=b,
            decision=request.decision,
            note=request.note,
            author=request.author,
        )
        verdict.create_time.FromDatetime(now)
        self.verdicts.append(verdict)
        return self._answer(verdict)

    def _answer(self, verdict: pb.Verdict) -> pb.Verdict:
        answer = pb.Verdict()
        answer.CopyFrom(verdict)
        for each in self.contradicted:
            each.overruled = True
        answer.overruled_verdicts.extend(self.contradicted)
        self.contradicted = []
        for each in self.restored:
            each.overruled = False
        self.restored = []
        return answer

    def ListVerdicts(self, request, context):
        self._begin("ListVerdicts", request, context)
        found = [
            verdict
            for verdict in reversed(self.verdicts if request.history else self._holding())
            if not request.image or request.image in {verdict.a, verdict.b}
        ]
        start = int(request.page_token or 0)
        end = start + (request.page_size or 2)
        return pb.ListVerdictsResponse(
            verdicts=found[start:end], next_page_token=str(end) if end < len(found) else ""
        )

    def DeleteVerdict(self, request, context):
        self._begin("DeleteVerdict", request, context)
        for verdict in self.verdicts:
            if verdict.name == request.name:
                if not verdict.HasField("end_time"):
                    verdict.end_time.FromDatetime(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
                return self._answer(verdict)
        return self._happen(fails(errors.NotFound(f"There is no {request.name}.")), context)

    def GetThumbnail(self, request, context):
        if request.name not in self.thumbnails:
            return super().GetThumbnail(request, context)
        self._begin("GetThumbnail", request, context)
        record = self._find(request.name, context)
        self._check_shown(record, showing.Show.THUMBNAIL, context)
        return search_pb2.GetThumbnailResponse(
            content=self.thumbnails[request.name], content_type="image/jpeg"
        )


def _strength(link: pb.Link) -> float:
    return link.probability if link.HasField("probability") else 1.0


def _day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)
