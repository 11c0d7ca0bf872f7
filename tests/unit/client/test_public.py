"""What `halftone.client` exports and imports."""

from __future__ import annotations

import subprocess
import sys

from halftone import client as public
from halftone.client import (
    AsyncClient,
    Client,
    RetryPolicy,
)

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
            *("AsyncClient", "Client", "Embedding", "Facets", "Filter", "Hit", "ImageEmbeddings"),
            *("ImageRecord", "ImportAck", "ImportState", "ImportSummary", "LoadedModel"),
            *("NewImage", "Orientation", "Query", "Region", "RetryPolicy", "Search"),
            *("SearchOptions", "SearchPage", "Thumbnail"),
            *("JobState", "TrainingJob", "TrainingOptions", "TrainingProgress", "TrainingSpec"),
            *(
                "Compared",
                "Comparison",
                "ModelVersion",
                "Promotion",
                "PromotionState",
                "RetrievalFigures",
            ),
            *("Overlap", "Relation", "Verification", "VerificationState"),
            *("Cluster", "ClusterJob", "ClusterJobState", "ClusterMember", "ClusterOrder"),
            *("ClusterPage", "Decision", "Link", "Verdict"),
        ]
    )
    methods = {name for name in dir(Client) if not name.startswith("_")}
    assert methods == {name for name in dir(AsyncClient) if not name.startswith("_")}
