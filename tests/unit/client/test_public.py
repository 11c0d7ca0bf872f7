"""What `halftone.client` exports and imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

from halftone import client as public
from halftone.client import (
    AsyncClient,
    Client,
    RetryPolicy,
)
from halftone.core import errors

NAME = "archives/a/images/one"
QUICK = RetryPolicy(first_pause=0.01, longest_pause=0.05, import_patience=5)


def test_importing_the_client_imports_no_heavy_package():
    code = (
        "import sys, halftone.client;"
        "bad = {'torch', 'qdrant_client', 'structlog', 'skimage'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_public_names():
    assert sorted(public.__all__) == sorted(
        [
            *(
                "AsyncClient",
                "Client",
                "Embedding",
                "Facets",
                "Filter",
                "Hit",
                "ImageEmbeddings",
                "ImageKind",
                "ImagePage",
            ),
            *("ImageRecord", "ImportAck", "ImportState", "ImportSummary", "LoadedModel"),
            *("NewImage", "Orientation", "Query", "Region", "RetryPolicy", "Search"),
            *(
                "ImageRegion",
                "RegionOptions",
                "SearchOptions",
                "SearchPage",
                "Show",
                "Thumbnail",
                "YearBucket",
            ),
            *("JobState", "TrainingJob", "TrainingOptions", "TrainingProgress", "TrainingSpec"),
            *(
                "Compared",
                "Comparison",
                "ModelVersion",
                "Promotion",
                "PromotionState",
                "RetrievalFigures",
            ),
            *(
                "Difference",
                "Overlap",
                "OverlapPart",
                "Relation",
                "Verification",
                "VerificationState",
            ),
            *("Cluster", "ClusterJob", "ClusterJobState", "ClusterMember", "ClusterOrder"),
            *("ClusterPage", "Decision", "Link", "Verdict", "VerdictPage"),
            *("JudgingPage", "JudgingReason", "PairToJudge"),
        ]
    )
    methods = {name for name in dir(Client) if not name.startswith("_")}
    assert methods == {name for name in dir(AsyncClient) if not name.startswith("_")}


@pytest.mark.parametrize("make", [Client, AsyncClient])
def test_the_environment_is_read_for_the_addresses_that_are_not_given(monkeypatch, make):
    monkeypatch.setenv("HALFTONE_SEARCH", "localhost")
    make("x:1")
    with pytest.raises(errors.InvalidArgument, match=r"HALFTONE_SEARCH=localhost: .* no port"):
        make()
    with pytest.raises(errors.InvalidArgument, match=r"^'localhost' is no address"):
        make("localhost")
