"""The Python client: `Client` for blocking code, `AsyncClient` for asyncio.

    with Client("archive.example:7102") as client:
        for hit in client.search("found.jpg", filter=Filter(journals=["The Sphere"])):
            print(hit.probability, hit.relation, hit.image.journal, hit.image.date)

The folder `asynchronous` is the source of both clients; `blocking` is generated from it. The
modules beside them are shared. `calls`, `clusters`, `models`, `regions` and `training` build each
call; `types`, `records`, `verdicts` and `conversions` hold arguments and results; `retry` decides
when a call is tried again; `watching` follows promotions and training jobs; `tasks` and `threads`
are the parts that differ between the clients. Read `asynchronous/connection.py` first. The client
may import `core`, `archive` and `imaging`, and never imports torch.
"""

from halftone.archive.showing import Show
from halftone.client.asynchronous import AsyncClient
from halftone.client.blocking import Client
from halftone.client.clusters import (
    Cluster,
    ClusterJob,
    ClusterJobState,
    ClusterMember,
    ClusterOrder,
    ClusterPage,
    Link,
)
from halftone.client.judging import JudgingPage, JudgingReason, PairToJudge
from halftone.client.models import (
    Comparison,
    ModelVersion,
    Promotion,
    PromotionState,
    RetrievalFigures,
)
from halftone.client.records import (
    Facets,
    ImagePage,
    ImageRecord,
    ImportAck,
    ImportState,
    ImportSummary,
    NewImage,
    Thumbnail,
    YearBucket,
)
from halftone.client.regions import ImageRegion, RegionOptions
from halftone.client.retry import RetryPolicy
from halftone.client.training import JobState, TrainingJob, TrainingProgress
from halftone.client.types import (
    Compared,
    Difference,
    Embedding,
    Filter,
    Hit,
    ImageEmbeddings,
    ImageKind,
    LoadedModel,
    Overlap,
    OverlapPart,
    Query,
    Relation,
    Search,
    SearchOptions,
    SearchPage,
    Verification,
    VerificationState,
)
from halftone.client.verdicts import Decision, Verdict, VerdictPage
from halftone.core.training import TrainingOptions, TrainingSpec
from halftone.imaging.images import Region
from halftone.imaging.orientations import Orientation

__all__ = [
    "AsyncClient",
    "Client",
    "Cluster",
    "ClusterJob",
    "ClusterJobState",
    "ClusterMember",
    "ClusterOrder",
    "ClusterPage",
    "Compared",
    "Comparison",
    "Decision",
    "Difference",
    "Embedding",
    "Facets",
    "Filter",
    "Hit",
    "ImageEmbeddings",
    "ImageKind",
    "ImagePage",
    "ImageRecord",
    "ImageRegion",
    "ImportAck",
    "ImportState",
    "ImportSummary",
    "JobState",
    "JudgingPage",
    "JudgingReason",
    "Link",
    "LoadedModel",
    "ModelVersion",
    "NewImage",
    "Orientation",
    "Overlap",
    "OverlapPart",
    "PairToJudge",
    "Promotion",
    "PromotionState",
    "Query",
    "Region",
    "RegionOptions",
    "Relation",
    "RetrievalFigures",
    "RetryPolicy",
    "Search",
    "SearchOptions",
    "SearchPage",
    "Show",
    "Thumbnail",
    "TrainingJob",
    "TrainingOptions",
    "TrainingProgress",
    "TrainingSpec",
    "Verdict",
    "VerdictPage",
    "Verification",
    "VerificationState",
    "YearBucket",
]
