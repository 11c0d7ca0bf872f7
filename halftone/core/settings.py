"""Every setting of Halftone; the only reader of the environment.

Each class reads the variables of its prefix once, when it is constructed, and is frozen after
that: `EmbedderSettings()` in a service's `__main__`, plain keyword arguments in tests. An unknown
or malformed value is an error at start-up, not later.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 1024 * 1024

Port = Annotated[int, Field(ge=0, le=65535)]
Paths = Annotated[tuple[Path, ...], NoDecode]


def _config(prefix: str) -> SettingsConfigDict:
    return SettingsConfigDict(env_prefix=prefix, frozen=True, extra="ignore")


class ServerSettings(BaseSettings):
    """What every service has. Read from variables that begin with the service's prefix."""

    host: str = "127.0.0.1"
    """Address to listen on. Containers set `0.0.0.0`."""
    port: Port
    """gRPC port; 0 picks a free one."""
    metrics_port: Port
    """Prometheus metrics over HTTP; 0 picks a free one."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    drain_seconds: float = Field(default=20.0, ge=0)
    """After SIGTERM, how many seconds accepted requests may take to finish."""
    max_concurrent_calls: int = Field(default=1024, ge=1)
    """Calls with one request and one answer that are answered at a time. Further ones are refused
    with RESOURCE_EXHAUSTED and the time after which to try again."""
    max_concurrent_streams: int = Field(default=128, ge=1)
    """Streams (imports, watches) that are open at a time; they do not count as calls."""


class ModelSettings(BaseSettings):
    """Where model versions are kept (`HALFTONE_MODELS_…`)."""

    model_config = _config("HALFTONE_MODELS_")

    directory: Path = Path("models")
    """Holds `<name>/<version>/` and the pointer `active`."""


class EmbedderSettings(ServerSettings):
    """The embedder (`HALFTONE_EMBEDDER_…`)."""

    model_config = _config("HALFTONE_EMBEDDER_")

    port: Port = 7101
    metrics_port: Port = 9101
    device: str = "auto"
    """`auto` takes CUDA when there is one; or `cpu`, `cuda`, `cuda:1`."""
    execution: Literal["eager", "fused", "graphs"] = "eager"
    """How networks run on CUDA: as they are, with batch norm folded and bfloat16 weights, or that
    as CUDA graphs. `make gpu` measures all three."""
    backend: Literal["auto", "torch", "openvino"] = "auto"
    """`auto` runs a version's int8 form on the CPU where `halftone models quantize` has made one
    that agrees with it, and torch otherwise. `openvino` refuses versions that have none."""
    threads: int = Field(default=0, ge=0)
    """Threads for inference on the CPU, of all batches that run at a time; 0 means one per core."""
    decode_threads: int = Field(default=0, ge=0)
    """Threads that decode images; 0 means one per core."""
    max_batch: int = Field(default=0, ge=0)
    """Items in one batch on the device; 0 means 8 on the CPU, 128 on CUDA. Each orientation of a
    picture is an item of its own."""
    max_queue_items: int = Field(default=512, ge=1)
    max_queue_bytes: int = Field(default=256 * MIB, ge=1)
    max_pixels: int = Field(default=100_000_000, ge=1)
    """Larger images are refused by their header, before decoding."""
    max_image_bytes: int = Field(default=32 * MIB, ge=1)
    max_models: int = Field(default=4, ge=2)
    """Versions kept loaded: the active one, the one before it, and the newest others."""
    reload_seconds: float = Field(default=2.0, gt=0)
    """How often the models' directory is looked at for newly published versions."""


class SearchSettings(ServerSettings):
    """The search service (`HALFTONE_SEARCH_…`)."""

    model_config = _config("HALFTONE_SEARCH_")

    port: Port = 7102
    metrics_port: Port = 9102
    embedder: str = "127.0.0.1:7101"
    """`host:port` of the embedder."""
    embedder_timeout_seconds: float = Field(default=60.0, gt=0)
    store: Literal["edge", "server"] = "edge"
    """`edge` keeps vectors inside this process; `server` speaks to a Qdrant server."""
    data_directory: Path = Path("data/search")
    """Holds Edge's shards; one process at a time."""
    blobs: str = "data/blobs"
    """Image bytes and thumbnails: a directory, or an fsspec URL such as `s3://bucket/halftone`."""
    qdrant_url: str = "http://127.0.0.1:6334"
    """gRPC address of the Qdrant server (`store=server`)."""
    qdrant_api_key: str = ""
    collection: str = "halftone"
    """Prefix of the collections' names and the alias of the active one."""
    import_roots: Paths = ()
    """Directories, separated by `:`, below which `ImportImages` may be given a path."""
    import_batch: int = Field(default=32, ge=1, le=64)
    """Records embedded and stored together."""
    import_window: int = Field(default=4, ge=1)
    """Batches of one import under way at a time."""
    max_pixels: int = Field(default=100_000_000, ge=1)
    max_image_bytes: int = Field(default=32 * MIB, ge=1)
    import_patience_seconds: float = Field(default=60.0, ge=0)
    """How long an import waits for an embedder that is down or full before it refuses records."""
    min_free_bytes: int = Field(default=256 * MIB, ge=0)
    """With the embedded store, nothing more is stored when the disk of the data directory has less
    left. A Qdrant server's disk, and that of `blobs`, are filled until they refuse."""
    max_concurrent_searches: int = Field(default=64, ge=1)
    """Searches beyond that are refused with RESOURCE_EXHAUSTED; a batch counts as two, which is
    what it compares at a time."""
    watch_seconds: float = Field(default=5.0, gt=0)
    """How often the store and the embedder are asked whether they are there."""
    max_concurrent_lists: int = Field(default=32, ge=1)
    """Calls that read long lists (`ListImages`, `CountFacets`, `ListClusters`, `GetCluster` …) and
    are answered at a time."""
    max_concurrent_thumbnails: int = Field(default=64, ge=1)
    """Calls of `GetThumbnail` that are answered at a time; they have threads of their own."""
    max_concurrent_imports: int = Field(default=8, ge=1)
    """Streams of `ImportImages`; each holds up to `import_window` batches in memory."""
    promotion_workers: int = Field(default=2, ge=1)
    """Pieces of a promotion that are embedded at a time while nobody searches: several embedders
    behind one name share them."""
    promotion_batch: int = Field(default=32, ge=1, le=64)
    """Images in one piece, at most; fewer where they would take longer than 0.2 seconds."""
    promotion_share: float = Field(default=0.2, gt=0, le=1)
    """Share of the time for which a promotion works, at most, while there are searches."""
    promotion_patience_seconds: float = Field(default=300.0, ge=0)
    """How long a promotion waits for an embedder or a store that does not answer, or has not
    loaded the version."""
    promotion_poll_seconds: float = Field(default=1.0, gt=0)
    """How often a promotion that another process runs is looked at."""
    verify_seconds: float = Field(default=2.0, gt=0)
    """How long a search's candidates are compared by local features, at most; a batch has as much
    for each of its searches. What is left is answered as out of time."""
    verify_threads: int = Field(default=0, ge=0)
    """Threads that compare; 0 means one per core."""
    features_memory_bytes: int = Field(default=256 * MIB, ge=0)
    """Local features that are kept in memory, of the images compared last: 3,000 of them."""

    @field_validator("import_roots", mode="before")
    @classmethod
    def _split_roots(cls, value: object) -> object:
        return _split_paths(value)


class TrainerSettings(ServerSettings):
    """The training jobs' service and its workers (`HALFTONE_TRAINER_…`)."""

    model_config = _config("HALFTONE_TRAINER_")

    port: Port = 7103
    metrics_port: Port = 9103
    worker_metrics_port: Port = 9104
    """Of the worker, which listens on no other port."""
    broker: str = "redis://127.0.0.1:7104/0"
    """Redis or Valkey: holds the queue and the jobs."""
    search: str = "127.0.0.1:7102"
    """`host:port` of the search service, where versions are promoted."""
    data_roots: Paths = ()
    """Directories, separated by `:`, below which data sets lie."""
    work_directory: Path = Path("data/training")
    """Checkpoints and logs of the jobs. Workers that continue each other's jobs share it."""
    device: str = Field(default="auto", pattern=r"auto|cpu|cuda(:\d+)?")
    """What a worker trains on, one job at a time: `auto` takes CUDA when there is one."""
    threads: int = Field(default=0, ge=0)
    """Threads for training on the CPU; 0 leaves the choice to torch."""
    nice: int = Field(default=10, ge=0, le=19)
    """How far training gives way to other processes on its machine, which search meanwhile."""
    imagenet_weights: Path | None = None
    """File with the ImageNet weights, where a worker cannot download them."""
    lease_seconds: float = Field(default=60.0, ge=1)
    """After so long without a sign of its worker a job is taken over by another. The training
    process is stopped well before that when its worker cannot reach the broker."""
    max_job_hours: float = Field(default=48.0, gt=0)
    """A job that has run for longer fails."""
    max_crashes: int = Field(default=3, ge=1)
    """A job whose training process is killed so often without getting further fails."""
    max_attempts: int = Field(default=20, ge=1)
    """A job that was started so often fails when its training process is killed once more."""
    max_queued_jobs: int = Field(default=1000, ge=1)
    """Beyond that, new jobs are refused with RESOURCE_EXHAUSTED."""
    max_concurrent_lists: int = Field(default=32, ge=1)
    """Calls of `ListTrainingJobs` that are answered at a time."""
    cancel_seconds: float = Field(default=30.0, gt=0)
    """A training process that was asked to stop is killed after so long."""
    promotion_hours: float = Field(default=24.0, gt=0)
    """How long a job waits for the promotion of its version."""
    min_free_bytes: int = Field(default=512 * MIB, ge=0)
    """A job is not started when the disk of the work directory has less left."""
    keep_days: float = Field(default=90.0, gt=0)
    """Jobs that are over are forgotten after so many days."""

    @field_validator("data_roots", mode="before")
    @classmethod
    def _split_roots(cls, value: object) -> object:
        return _split_paths(value)


def _split_paths(value: object) -> object:
    if isinstance(value, str):
        return tuple(Path(part) for part in value.split(os.pathsep) if part)
    return value


class TrackingSettings(BaseSettings):
    """Where training figures go (`MLFLOW_…`, as MLflow itself names them)."""

    model_config = _config("MLFLOW_")

    tracking_uri: str = ""
    """Of an MLflow server, for example `http://mlflow:5000`; empty: nowhere."""
    experiment_name: str = "halftone"


class ClientSettings(BaseSettings):
    """The command line and `Client()` without arguments (`HALFTONE_…`)."""

    model_config = _config("HALFTONE_")

    search: str = "127.0.0.1:7102"
    """`host:port` of the search service."""
    embedder: str = "127.0.0.1:7101"
    trainer: str = "127.0.0.1:7103"
    """`host:port` of the training jobs' service."""
    data: Path = Path("data")
    """Where `halftone up` keeps everything."""
    author: str = Field(default="", max_length=256)
    """Who gives verdicts. Default: the login name."""
