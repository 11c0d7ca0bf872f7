"""A small search service for tests: real gRPC, and it misbehaves on command."""

from __future__ import annotations

import collections
import hashlib
import io
import re
import threading
import time
from concurrent import futures
from typing import TYPE_CHECKING

import grpc
from grpc_status import rpc_status
from PIL import Image

from halftone.archive import showing
from halftone.core import errors
from halftone.core.wire import CHANNEL_OPTIONS, REQUEST_ID_KEY
from halftone.imaging.formats import tiff_pages
from halftone.v1 import (
    embedder_pb2,
    embedder_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
    verdicts_pb2,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (32, 24), 200).save(buffer, format="JPEG")
    return buffer.getvalue()


JPEG = _jpeg()


_PAGE_TOKEN = re.compile(r"[0-9]{1,6}|\[.*\]", re.ASCII)


def fails(error: errors.HalftoneError) -> Callable[[], None]:
    """A fault: the call ends with that error."""

    def fault() -> None:
        raise error

    return fault


def sleeps(seconds: float) -> Callable[[], None]:
    """A fault: the answer takes a while."""
    return lambda: time.sleep(seconds)


def verdict(a: str, b: str, **fields) -> verdicts_pb2.Verdict:
    """That two images are different, by default."""
    fields = {"name": "verdicts/7", "author": "Eva", "decision": "DIFFERENT", **fields}
    made = verdicts_pb2.Verdict(a=min(a, b), b=max(a, b), **fields)
    made.create_time.FromJsonString("1914-08-01T12:00:00Z")
    return made


def _hit(record: search_pb2.Image, *, rank: int, likely: float = 0.987) -> search_pb2.Hit:
    """The first hit shares its left half with the query, reduced to a half; others are late."""
    hit = search_pb2.Hit(
        image=record,
        similarity=0.9 - 0.1 * rank,
        mirrored=rank == 1,
        probability=max(0.0, likely - 0.2 * rank),
        relation=search_pb2.Hit.NOT_COMPARED if rank else search_pb2.Hit.CROP_OF,
        pdq_distance=40 + rank,
        words_similarity=0.25,
    )
    if rank:
        hit.verification.state = search_pb2.Verification.OUT_OF_TIME
        return hit
    hit.verification.state = search_pb2.Verification.OVERLAPPING
    hit.verification.overlaps.add(
        inlier_count=42,
        homography=[0.5, 0, 0, 0, 0.5, 0, 0, 0, 1],
        query_polygon=[search_pb2.Point(x=x, y=y) for x, y in _CORNERS],
        image_polygon=[search_pb2.Point(x=x / 2, y=y / 2) for x, y in _CORNERS],
        query_share=0.995,
        image_share=0.25,
        rotation=-1.5,
        scale=0.5,
    )
    return hit


_CORNERS = ((0, 0), (100, 0), (100, 80), (0, 80))


class FakeSearch(search_pb2_grpc.SearchServiceServicer, embedder_pb2_grpc.EmbedderServiceServicer):
    """Keeps records in a dictionary; a search finds every other record.

    Attributes:
        faults: For each method, what the next calls do before they are answered.
        import_faults: What happens when the n-th record of the whole test arrives.
        calls: Each call's method, request id and time.
        seen: Names of the records that arrived, sent-again ones included.
        shares: Whether two images that are compared have a part in common.
        relation: The relation of two that have.
        overlap: Fields that their overlap has beside its own.
        verdicts: What archivists said of pairs; those without an end hold.
        verdicts_unavailable: They cannot be read.
    """

    def __init__(self, *, port: int = 0) -> None:
        self.records: dict[str, search_pb2.Image] = {}
        self.faults: dict[str, collections.deque[Callable[[], None]]] = collections.defaultdict(
            collections.deque
        )
        self.import_faults: dict[int, Callable[[], None]] = {}
        self.calls: list[tuple[str, str, float]] = []
        self.requests: list[object] = []
        self.metadata: list[tuple[tuple[str, str], ...]] = []
        self.seen: list[str] = []
        self.delay_acks = 0.0
        self.shares = True
        self.relation = search_pb2.Hit.CROP_OF
        self.overlap: dict[str, object] = {}
        self.likely = 0.987
        self.negative = False
        self.verdicts: list[verdicts_pb2.Verdict] = []
        self.verdicts_unavailable = False
        self._lock = threading.Lock()
        self._pool = futures.ThreadPoolExecutor(8)
        self._server = grpc.server(self._pool, options=CHANNEL_OPTIONS)
        search_pb2_grpc.add_SearchServiceServicer_to_server(self, self._server)
        embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self.address = f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()
        self._pool.shutdown()

    def add(self, name: str, **fields: object) -> None:
        self.records[name] = search_pb2.Image(name=name, width=100, height=80, **fields)

    def _begin(self, method: str, request: object, context: grpc.ServicerContext) -> None:
        metadata = dict(context.invocation_metadata())
        with self._lock:
            self.calls.append((method, metadata.get(REQUEST_ID_KEY, ""), time.monotonic()))
            self.requests.append(request)
            self.metadata.append(tuple(context.invocation_metadata()))
            waiting = self.faults[method]
            fault = waiting.popleft() if waiting else None
        self._happen(fault, context)
        token = getattr(request, "page_token", "")
        if token and not _PAGE_TOKEN.fullmatch(token):
            self._happen(fails(errors.InvalidArgument("page_token: it is none.")), context)

    def _happen(self, fault: Callable[[], None] | None, context: grpc.ServicerContext) -> None:
        try:
            if fault is not None:
                fault()
        except errors.HalftoneError as error:
            context.abort_with_status(rpc_status.to_status(errors.to_status(error)))

    def _find(self, name: str, context: grpc.ServicerContext) -> search_pb2.Image:
        if name not in self.records:
            error = errors.NotFound(f"There is no image {name}.", resource_name=name)
            self._happen(fails(error), context)
        return self.records[name]

    def _check_shown(self, record, wanted, context):
        try:
            showing.check_shown(
                showing.read_show(record) or showing.Show.FULL, wanted=wanted, name=record.name
            )
        except errors.PermissionDenied as error:
            self._happen(fails(error), context)

    def _beside(self, request, field: str) -> list[search_pb2.Image]:
        """Return the records under a filter, without the values of one of its fields if asked."""
        if not request.ignore_own_values:
            return self._under(request.filter)
        where = search_pb2.Filter()
        where.CopyFrom(request.filter)
        where.ClearField(field)
        return self._under(where)

    def _under(self, where: search_pb2.Filter) -> list[search_pb2.Image]:
        return [
            record
            for name, record in sorted(self.records.items())
            if (not where.journals or record.journal in where.journals)
            and (not where.languages or record.language in where.languages)
            and (not where.archives or name.split("/")[1] in where.archives)
            and record.journal not in (where.exclude.journals or ())
            and name.split("/")[1] not in where.exclude.archives
            and (not where.page_images or record.page_image in where.page_images)
            and (not where.kind or bool(record.page_image) == (where.kind == where.PICTURE))
            and all(
                key in record.labels and set(wanted.values) & set(record.labels[key].values)
                for key, wanted in where.labels.items()
            )
        ]

    def ImportImages(
        self, requests: Iterator[search_pb2.ImportImagesRequest], context: grpc.ServicerContext
    ) -> Iterator[search_pb2.ImportImagesResponse]:
        self._begin("ImportImages", None, context)
        state = search_pb2.ImportImagesResponse.State
        for request in requests:
            name = request.image.name
            with self._lock:
                self.seen.append(name)
                fault = self.import_faults.pop(len(self.seen), None)
            answer = search_pb2.ImportImagesResponse(row=request.row, name=name)
            try:
                if fault is not None:
                    fault()
                if request.content == b"broken":
                    fails(errors.ImageRejected("Not an image.", reason="NOT_AN_IMAGE"))()
            except errors.ImageRejected as error:
                answer.state = state.REJECTED
                answer.error.CopyFrom(errors.to_status(error))
                yield answer
                continue
            except errors.HalftoneError as error:
                context.abort_with_status(rpc_status.to_status(errors.to_status(error)))
            digest = hashlib.sha256(request.content).hexdigest()
            with self._lock:
                old = self.records.get(name)
                same = old is not None and old.content_sha256 == digest
                self.records[name] = request.image
                self.records[name].content_sha256 = digest
            if tiff_pages.count_pages(request.content) > 1:
                answer.notes.append("Only the first page.")
            answer.state = (
                state.UNCHANGED if same else state.UPDATED if old is not None else state.CREATED
            )
            time.sleep(self.delay_acks)
            yield answer

    def GetImage(self, request, context):
        self._begin("GetImage", request, context)
        return self._find(request.name, context)

    def ListImages(self, request, context):
        self._begin("ListImages", request, context)
        found = self._under(request.filter)
        start = int(request.page_token or 0)
        end = start + (request.page_size or 100)
        return search_pb2.ListImagesResponse(
            images=found[start:end], next_page_token=str(end) if end < len(found) else ""
        )

    def UpdateImage(self, request, context):
        self._begin("UpdateImage", request, context)
        record = self._find(request.image.name, context)
        request.update_mask.MergeMessage(request.image, record, True, True)  # noqa: FBT003
        return record

    def DeleteImages(self, request, context):
        self._begin("DeleteImages", request, context)
        under = [record.name for record in self._under(request.filter)]
        names = [name for name in request.names if name in self.records] if request.names else under
        if not request.validate_only:
            for name in names:
                self.records.pop(name, None)
        return search_pb2.DeleteImagesResponse(deleted_count=len(names))

    def SearchImages(self, request, context):
        self._begin("SearchImages", request, context)
        return self._search(request)

    def _search(self, request):
        found = [record for record in self._under(request.filter) if record.name != request.image]
        start = int(request.page_token or 0)
        end = start + (request.limit or 20)
        hits = [_hit(record, rank=rank, likely=self.likely) for rank, record in enumerate(found)]
        for hit in hits:
            if hit.image.page_image in self.records:
                hit.page.CopyFrom(self.records[hit.image.page_image])
        if self.negative and hits:
            hits[0].negative = hits[0].verification.overlaps[0].negative = True
        if hits:
            hits[0].verification.overlaps[0].MergeFrom(search_pb2.Overlap(**self.overlap))
        return search_pb2.SearchImagesResponse(
            hits=[self._judged(hit, beside=request.image) for hit in hits[start:end]],
            next_page_token=str(end) if end < len(found) else "",
            model_version="fake/1",
            verified_count=min(1, len(found)),
            out_of_time_count=max(0, len(found) - 1),
            verdicts_unavailable=self.verdicts_unavailable and bool(request.image),
        )

    def _judged(self, hit, *, beside):
        pair = {beside, hit.image.name}
        for verdict in self.verdicts:
            if not verdict.HasField("end_time") and {verdict.a, verdict.b} == pair:
                hit.verdict.CopyFrom(verdict)
        return hit

    def CompareImages(self, request, context):
        self._begin("CompareImages", request, context)
        self._find(request.query, context)
        hit = _hit(self._find(request.image, context), rank=0 if self.shares else 1)
        if self.shares:
            hit.relation = self.relation
            hit.probability = self.likely
            hit.verification.overlaps[0].MergeFrom(search_pb2.Overlap(**self.overlap))
        return search_pb2.CompareImagesResponse(
            hit=self._judged(hit, beside=request.query),
            model_version="fake/1",
            verdicts_unavailable=self.verdicts_unavailable,
        )

    def BatchSearchImages(self, request, context):
        self._begin("BatchSearchImages", request, context)
        results = []
        for one in request.requests:
            if one.content == b"broken":
                error = errors.ImageRejected("Not an image.", field="content")
                results.append(search_pb2.BatchSearchResult(error=errors.to_status(error)))
            else:
                results.append(search_pb2.BatchSearchResult(response=self._search(one)))
        return search_pb2.BatchSearchImagesResponse(results=results)

    def CountFacets(self, request, context):
        self._begin("CountFacets", request, context)
        found = self._under(request.filter)
        most = request.limit if request.HasField("limit") else 100

        def count(values):
            return [
                search_pb2.Facet(value=value, count=number)
                for value, number in collections.Counter(filter(None, values)).most_common(most)
            ]

        dated = [int(record.date[:4]) for record in found if record.date[:4].isdecimal()]
        bars = []
        if dated and request.HasField("year_buckets"):
            first, last = min(dated), max(dated)
            span = -(-(last - first + 1) // request.year_buckets)
            for year in range(first, last + 1, span):
                years = range(year, year + span)
                bars.append(
                    search_pb2.YearBucket(
                        first_year=years[0],
                        last_year=years[-1],
                        count=sum(each in years for each in dated),
                    )
                )
        return search_pb2.CountFacetsResponse(
            total_count=len(found),
            journals=count(record.journal for record in self._beside(request, "journals")),
            years=count(record.date[:4] for record in found),
            year_histogram=bars,
            languages=count(record.language for record in self._beside(request, "languages")),
            archives=count(
                record.name.split("/")[1] for record in self._beside(request, "archives")
            ),
            labels=[
                search_pb2.LabelFacet(key=key, value=value, count=number)
                for (key, value), number in collections.Counter(
                    (key, value)
                    for record in found
                    for key, labels in record.labels.items()
                    for value in labels.values
                ).most_common()
                if request.include_labels
            ],
        )

    def GetThumbnail(self, request, context):
        self._begin("GetThumbnail", request, context)
        record = self._find(request.name, context)
        self._check_shown(record, showing.Show.THUMBNAIL, context)
        return search_pb2.GetThumbnailResponse(
            content=JPEG, content_type="image/jpeg", rights=record.rights
        )

    def GetImageRegion(self, request, context):
        self._begin("GetImageRegion", request, context)
        record = self._find(request.name, context)
        self._check_shown(record, showing.Show.FULL, context)
        return search_pb2.GetImageRegionResponse(
            content=JPEG,
            content_type="image/jpeg",
            width=32,
            height=24,
            region=request.region if request.HasField("region") else None,
            image_width=record.width or 32,
            image_height=record.height or 24,
            rights=record.rights,
        )

    def EmbedImages(self, request, context):
        self._begin("EmbedImages", request, context)
        results = []
        for image in request.images:
            if image.content == b"broken":
                error = errors.ImageRejected("Not an image.", field="content")
                results.append(embedder_pb2.EmbedImageResult(error=errors.to_status(error)))
                continue
            embedding = embedder_pb2.Embedding(
                values=b"\x00\x00\x80\x3f\x00\x00\x00\x00", dimension=2, model_version="fake/1"
            )
            results.append(
                embedder_pb2.EmbedImageResult(
                    embeddings=embedder_pb2.ImageEmbeddings(
                        embedding=embedding,
                        oriented_embeddings=[
                            embedder_pb2.OrientedEmbedding(mirrored=True, embedding=embedding)
                        ]
                        if image.include_mirrored
                        else [],
                        width=100,
                        height=80,
                    )
                )
            )
        return embedder_pb2.EmbedImagesResponse(results=results)

    def ListModels(self, request, context):
        self._begin("ListModels", request, context)
        model = embedder_pb2.LoadedModel(
            model_version="fake/1", dimension=2, device="cpu", backend="torch", active=True
        )
        return embedder_pb2.ListModelsResponse(models=[model])
