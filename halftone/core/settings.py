"""Every setting of Halftone. Nothing else reads the environment.

A class reads the variables with its prefix once, when it is constructed, and is frozen after that.
Services construct theirs in `__main__` (`EmbedderSettings()`); tests pass keyword arguments. A
malformed value ends the process at start. The text below each setting is for operators.
"""

from __future__ import annotations

import os
import re
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from halftone.core import errors
from halftone.core.addresses import check_address
from halftone.core.keys import Scope
from halftone.core.quotas import Quota, parse_quotas

MIB = 1024 * 1024
MIN_SERVICE_KEY: Final = 32

# Names of settings with values that nobody may see, and what stands before the host of a URL.
_SECRET: Final = re.compile(r"key|password|secret|token|storage")
_CREDENTIALS: Final = re.compile(r"://\S*@")

Port = Annotated[int, Field(ge=0, le=65535)]
Paths = Annotated[tuple[Path, ...], NoDecode]
Names = Annotated[tuple[str, ...], NoDecode]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode]


def _check(address: str, *, service: Literal["search", "embedder", "trainer"]) -> str:
    try:
        return check_address(address, service=service)
    except errors.InvalidArgument as error:
        raise ValueError(error.message) from error


def _check_device(device: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise ValueError("it is auto, cpu, cuda, or one of several as in cuda:1")
    return device


Device = Annotated[str, AfterValidator(_check_device)]
SearchAddress = Annotated[str, AfterValidator(partial(_check, service="search"))]
EmbedderAddress = Annotated[str, AfterValidator(partial(_check, service="embedder"))]
TrainerAddress = Annotated[str, AfterValidator(partial(_check, service="trainer"))]
TrainerAddressIfAny = Annotated[
    str, AfterValidator(lambda address: address and _check(address, service="trainer"))
]


def _config(prefix: str) -> SettingsConfigDict:
    return SettingsConfigDict(env_prefix=prefix, frozen=True, extra="ignore")


class ServerSettings(BaseSettings):
    """Settings that every service has, each under the service's own prefix."""

    host: str = "127.0.0.1"
    """The address to listen on. Containers set `0.0.0.0`."""
    port: Port
    """The gRPC port; 0 takes a free one."""
    metrics_port: Port
    """The port of the Prometheus metrics (HTTP); 0 takes a free one."""
    metrics_host: str = ""
    """The address on which the metrics are served, to whoever reaches it: they have neither keys
    nor TLS. Empty: that of the service where it is loopback or on a private network, otherwise
    127.0.0.1."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Events below this level are not logged."""
    log_format: Literal["json", "console"] = "json"
    """`json` writes one object per event; `console` is for a person at a terminal."""
    drain_seconds: float = Field(default=20.0, ge=0)
    """After SIGTERM, how many seconds accepted requests may take to finish."""
    hang_seconds: float = Field(default=60.0, ge=0)
    """A process whose event loop stands still for this long ends, to be started again; 0: never."""
    max_concurrent_calls: int = Field(default=1024, ge=1)
    """The most calls with one request and one answer at a time. Further ones are refused with
    RESOURCE_EXHAUSTED and the time after which to try again."""
    max_concurrent_streams: int = Field(default=128, ge=1)
    """The most streams (imports, watches) open at a time. They do not count as calls."""


class PictureSettings(BaseSettings):
    """Settings that decide which pictures are read (`HALFTONE_…`), by every service and command."""

    model_config = _config("HALFTONE_")

    max_pixels: int = Field(default=400_000_000, ge=1)
    """The most pixels of a picture. Larger ones are refused by their header, before decoding, as
    are those that take more than 5 bytes of memory for each of so many pixels: 2 GB."""


def read_max_pixels() -> int:
    """Return the most pixels of a picture, as the environment says now."""
    return PictureSettings().max_pixels


class DecodingSettings(BaseSettings):
    """Settings of the processes that decode pictures, each under the service's own prefix."""

    max_pixels: int = Field(default_factory=read_max_pixels, ge=1)
    """Larger pictures are refused by their header, before decoding. By default, HALFTONE_MAX_PIXELS
    says so for all services."""

    decode_processes: int = Field(default=0, ge=0)
    """Processes that decode pictures; 0 means one per core."""
    decode_memory_bytes: int = Field(default=384 * MIB, ge=64 * MIB)
    """Memory that such a process may take for a picture. One that is large by its header may take
    what its size needs, and such pictures wait for each other."""
    decode_seconds: float = Field(default=3.0, gt=0)
    """Seconds of a processor that a picture may take, and 0.1 more for each million pixels. The
    process of one that takes more is killed."""


class AccessSettings(BaseSettings):
    """Settings that decide who may call the services (`HALFTONE_…`), the same for all of them."""

    model_config = _config("HALFTONE_")

    keys_file: Path | None = None
    """The file of keys, as `halftone keys` writes it; `keys.json` in the data directory in
    `halftone up`. Once it has a key, every call needs one."""
    service_key: str = Field(default="", repr=False)
    """A secret with which the services of one installation call each other: the same for all of
    them, at least 32 characters. `halftone up` makes one at each start."""
    private_network: bool = False
    """Listen on addresses of other machines' networks without keys and TLS. Only where nobody but
    this installation's own services can reach them, as in the network of a Compose file."""

    health: Literal["open", "key"] = "open"
    """Who may ask the services for their health: everybody, or whoever has a key."""
    reflection: Literal["open", "key", "off"] = "open"
    """Who may ask the services which calls they have (gRPC reflection)."""

    quotas: Annotated[tuple[Quota, ...], NoDecode] = ()
    """What each key may use that has no quotas of its own, separated by commas: `searches`,
    `megapixels` and `imports` a `minute`, `hour` or `day`, and `concurrency`, for example
    `searches=60/minute,concurrency=4`."""
    quotas_storage: str = Field(default="", repr=False)
    """URL of the Redis server that counts for several processes; empty counts in each process."""
    audit: str = "log"
    """Where it is written who changed what: `log` for the log stream, a file, or nowhere if it is
    empty. `halftone up` writes `audit.jsonl` in its data directory."""

    @field_validator("quotas", mode="before")
    @classmethod
    def _parse_quotas(cls, value: object) -> object:
        try:
            return parse_quotas(value.split(",")) if isinstance(value, str) else value
        except errors.InvalidArgument as error:
            raise ValueError(error.message) from error

    @field_validator("keys_file", mode="before")
    @classmethod
    def _skip_empty(cls, value: object) -> object:
        return value or None

    @field_validator("service_key")
    @classmethod
    def _check_length(cls, value: str) -> str:
        if value and (len(value) < MIN_SERVICE_KEY or not value.isascii() or " " in value):
            raise ValueError(f"it needs {MIN_SERVICE_KEY} characters of ASCII without spaces")
        return value


class TlsSettings(BaseSettings):
    """Certificates of a service or a client (`HALFTONE_TLS_…`), the same for all of a machine.

    Files are PEM. Services read them again when they change.
    """

    model_config = _config("HALFTONE_TLS_")

    certificate: Path | None = None
    """The certificate, with those between it and the authority behind it. A service that has one
    speaks TLS; who calls shows it to services that ask for one."""
    key: Path | None = Field(default=None, repr=False)
    """The private key of the certificate, without a password."""
    ca: Path | Literal["system"] | None = None
    """The certificates of the authorities that are trusted when services are called, and that sign
    the callers' certificates; `system` trusts those that gRPC brings along. Once it is set, calls
    to services use TLS."""
    require_certificates: bool = False
    """Services take calls only from who shows a certificate that `ca` has signed (mutual TLS). The
    page for browsers has settings of its own."""
    server_name: str = ""
    """The name that the services' certificates bear, where it is not the one they are called by."""

    @field_validator("certificate", "key", "ca", mode="before")
    @classmethod
    def _skip_empty(cls, value: object) -> object:
        return value or None

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        _check_certificate_pair(self.certificate, self.key)
        if self.require_certificates and not (self.certificate and isinstance(self.ca, Path)):
            raise ValueError("require_certificates needs a certificate, and a file of authorities")
        return self


def _check_certificate_pair(certificate: Path | None, key: Path | None) -> None:
    if (certificate is None) is not (key is None):
        raise ValueError("a certificate and its key are set together")


class ModelSettings(BaseSettings):
    """Settings of the registry of model versions (`HALFTONE_MODELS_…`)."""

    model_config = _config("HALFTONE_MODELS_")

    directory: Path = Path("models")
    """The directory that holds `<name>/<version>/` and the file `active`, which names the version
    that answers."""


class EmbedderSettings(ServerSettings, DecodingSettings):
    """Settings of the embedder (`HALFTONE_EMBEDDER_…`)."""

    model_config = _config("HALFTONE_EMBEDDER_")

    port: Port = 7101
    metrics_port: Port = 9101
    device: Device = "auto"
    """The device that embeds: `cpu`, `cuda` or `cuda:1`; `auto` takes CUDA if there is one."""
    execution: Literal["eager", "fused", "graphs"] = "eager"
    """How networks run on CUDA. `eager` runs them as they are; `fused` folds batch norm and uses
    bfloat16 weights; `graphs` runs the fused form as CUDA graphs. `make gpu` measures all three."""
    backend: Literal["auto", "portable", "int8", "torch"] = "auto"
    """What runs the networks. `auto` takes torch on a GPU; on the CPU it takes a version's int8
    form if `halftone models quantize` has made one that agrees with the version, and `portable`
    otherwise. `portable` runs on the CPU by OpenVINO or onnxruntime, without torch. `int8` refuses
    versions without an int8 form. `torch` also runs on the CPU, and uses bfloat16 if the processor
    has it."""
    threads: int = Field(default=0, ge=0)
    """Threads for inference on the CPU, shared by all batches at a time; 0 means one per core."""
    max_batch: int = Field(default=0, ge=0)
    """The most items in one batch on the device; 0 means 8 on the CPU and 128 on CUDA. Each
    orientation of a picture is one item."""
    max_queue_items: int = Field(default=512, ge=1)
    """The most items that wait for the device. Further ones are refused with RESOURCE_EXHAUSTED."""
    max_queue_bytes: int = Field(default=256 * MIB, ge=1)
    """The most bytes of images that wait for the device, counted before decoding."""
    max_image_bytes: int = Field(default=32 * MIB, ge=1)
    """Images with more bytes are refused. No message carries an image of more than 32 MiB."""
    max_models: int = Field(default=4, ge=2)
    """The most versions kept loaded: the active one, the one before it, and the newest others."""
    reload_seconds: float = Field(default=2.0, gt=0)
    """Seconds between two looks at the models' directory for newly published versions."""


class SearchSettings(ServerSettings, DecodingSettings):
    """Settings of the search service (`HALFTONE_SEARCH_…`)."""

    model_config = _config("HALFTONE_SEARCH_")

    port: Port = 7102
    metrics_port: Port = 9102
    embedder: EmbedderAddress = "127.0.0.1:7101"
    """`host:port` of the embedder."""
    embedder_timeout_seconds: float = Field(default=60.0, gt=0)
    """How long one call to the embedder may take before it counts as failed and is tried again."""
    embedder_liveness_seconds: float = Field(default=2.0, gt=0)
    """An embedder that has not answered for this long is asked whether it is alive, and has as long
    to say so. After two such questions without an answer it counts as hanging: searches are refused
    with UNAVAILABLE, imports try again."""
    store: Literal["edge", "server"] = "edge"
    """`edge` keeps vectors inside this process; `server` speaks to a Qdrant server."""
    data_directory: Path = Path("data/search")
    """The directory of the embedded store and of the clusters; one process at a time uses it."""
    blobs: str = "data/blobs"
    """Where image bytes, thumbnails and local features are kept: a directory, or an fsspec URL
    such as `s3://bucket/halftone`."""
    qdrant_url: str = "http://127.0.0.1:6334"
    """gRPC address of the Qdrant server (`store=server`)."""
    qdrant_api_key: str = ""
    """The key of the Qdrant server; empty sends none."""
    qdrant_read_seconds: int = Field(default=5, ge=1)
    """How long the Qdrant server may take for what a search waits for. Then the search is refused
    with UNAVAILABLE, which says who did not answer."""
    qdrant_work_seconds: int = Field(default=20, ge=1)
    """How long the Qdrant server may take for an update, a long list or a count. What an import
    could not store is tried again for `import_patience_seconds`."""
    collection: str = "halftone"
    """Prefix of the collections' names on the Qdrant server, and the alias of the one that
    answers."""
    import_roots: Paths = ()
    """Directories, separated by `:`, below which `ImportImages` may be given a path."""
    import_batch: int = Field(default=32, ge=1, le=64)
    """The number of records that an import embeds and stores together."""
    import_window: int = Field(default=4, ge=1)
    """The most batches of one import that are under way at a time."""
    max_image_bytes: int = Field(default=32 * MIB, ge=1)
    """Images with more bytes are refused. No message carries an image of more than 32 MiB."""
    import_patience_seconds: float = Field(default=60.0, ge=0)
    """How long an import waits for a store or an embedder that is down or full. Then it ends with
    UNAVAILABLE, and what was not acknowledged can be imported again."""
    min_free_bytes: int = Field(default=256 * MIB, ge=0)
    """With the embedded store, nothing more is stored when the disk of the data directory has less
    room left. The disks of a Qdrant server and of `blobs` are not watched: they fill until they
    refuse."""
    max_concurrent_searches: int = Field(default=64, ge=1)
    """The most searches that run or wait for their turn. Further ones are refused with
    RESOURCE_EXHAUSTED, as are those that would be answered too late. A batch counts as two
    searches, the number it compares at a time, or as an eighth of its searches if that is more."""
    max_running_searches: int = Field(default=0, ge=0)
    """The most of them that run at a time; callers take turns. 0 means two per core, at least 4.
    Searches by an embedding do not count."""
    watch_seconds: float = Field(default=5.0, gt=0)
    """Seconds between two checks that the store and the embedder answer."""
    max_concurrent_lists: int = Field(default=32, ge=1)
    """The most calls at a time that read long lists (`ListImages`, `CountFacets`, `ListClusters`,
    `GetCluster` …)."""
    max_concurrent_thumbnails: int = Field(default=256, ge=1)
    """The most calls of `GetThumbnail` at a time. A page of hits asks for a hundred at once."""
    max_concurrent_regions: int = Field(default=64, ge=1)
    """The most calls of `GetImageRegion` at a time. A deep zoom asks for some twenty at once."""
    max_region_pixels: int = Field(default=16_777_216, ge=1)
    """The most pixels of an answer of `GetImageRegion`: 4096 by 4096."""
    regions_memory_bytes: int = Field(default=256 * MIB, ge=0)
    """Memory for the pictures whose parts were asked for last. A page of 24 megapixels takes 72 MB
    in colour; each further part of it is then answered in milliseconds."""
    max_concurrent_imports: int = Field(default=8, ge=1)
    """The most streams of `ImportImages` that work at a time. Each holds up to `import_window`
    batches in memory. Streams that send nothing do not count."""
    import_idle_seconds: float = Field(default=120.0, gt=0)
    """A stream of `ImportImages` is ended that sends no record for so long although none is being
    worked on, or takes no answer. The client opens another one when it has records."""
    promotion_workers: int = Field(default=2, ge=1)
    """The most pieces of a promotion that are embedded at a time while nobody searches. With
    several embedders behind one name, set at least their number."""
    promotion_batch: int = Field(default=32, ge=1, le=64)
    """The most images in one piece. A piece has fewer if it would take longer than 0.2 seconds."""
    promotion_share: float = Field(default=0.2, gt=0, le=1)
    """The largest share of the time that a promotion works while there are searches."""
    promotion_patience_seconds: float = Field(default=300.0, ge=0)
    """How long a promotion waits for a store that does not answer, or for an embedder that does not
    answer or has not loaded the version."""
    promotion_poll_seconds: float = Field(default=1.0, gt=0)
    """Seconds between two looks at a promotion that another process runs."""
    verify_seconds: float = Field(default=2.0, gt=0)
    """The longest time for which a search compares candidates by local features. A batch has this
    time for each of its searches. Candidates that are left over are answered as out of time."""
    verify_threads: int = Field(default=0, ge=0)
    """Threads that compare candidates; 0 means one per core."""
    features_memory_bytes: int = Field(default=256 * MIB, ge=0)
    """Memory for the local features of the images that were compared last. The default holds about
    3,000 images."""

    @field_validator("import_roots", mode="before")
    @classmethod
    def _split_roots(cls, value: object) -> object:
        return _split_paths(value)


class TrainerSettings(ServerSettings):
    """Settings of the training jobs' service and its workers (`HALFTONE_TRAINER_…`)."""

    model_config = _config("HALFTONE_TRAINER_")

    port: Port = 7103
    metrics_port: Port = 9103
    worker_metrics_port: Port = 9104
    """The port of a worker's Prometheus metrics. A worker listens on no other port."""
    broker: str = "redis://127.0.0.1:7104/0"
    """URL of the Redis or Valkey server that holds the queue and the jobs."""
    search: SearchAddress = "127.0.0.1:7102"
    """`host:port` of the search service, which promotes the versions that training makes."""
    data_roots: Paths = ()
    """Directories, separated by `:`, below which data sets may lie."""
    work_directory: Path = Path("data/training")
    """The directory of the jobs' checkpoints and logs. Workers that continue each other's jobs
    share it."""
    device: Device = "auto"
    """The device that a worker trains on, one job at a time; `auto` takes CUDA if there is one."""
    threads: int = Field(default=0, ge=0)
    """Threads for training on the CPU; 0 leaves the choice to torch."""
    nice: int = Field(default=10, ge=0, le=19)
    """The niceness of training processes: higher values leave more of the CPU to the searches on
    the same machine."""
    imagenet_weights: Path | None = None
    """A file with the ImageNet weights, for workers that cannot download them."""
    lease_seconds: float = Field(default=60.0, ge=1)
    """A job without a sign of its worker for this long is taken over by another worker. A worker
    that cannot reach the broker stops its training process well before that."""
    max_job_hours: float = Field(default=48.0, gt=0)
    """A job that has run for longer fails."""
    max_crashes: int = Field(default=3, ge=1)
    """A job fails after its training process was killed this many times without progress."""
    max_attempts: int = Field(default=20, ge=1)
    """A job that was started this many times fails when its training process is killed again."""
    max_queued_jobs: int = Field(default=1000, ge=1)
    """The most jobs that wait. Further ones are refused with RESOURCE_EXHAUSTED."""
    max_concurrent_lists: int = Field(default=32, ge=1)
    """The most calls of `ListTrainingJobs` at a time."""
    cancel_seconds: float = Field(default=30.0, gt=0)
    """How long a training process that was asked to stop may take before it is killed."""
    promotion_hours: float = Field(default=24.0, gt=0)
    """How long a job waits for the promotion of its version."""
    min_free_bytes: int = Field(default=512 * MIB, ge=0)
    """No job is started when the disk of the work directory has less room left."""
    keep_days: float = Field(default=90.0, gt=0)
    """Days after which a job that is over is forgotten."""

    @field_validator("data_roots", mode="before")
    @classmethod
    def _split_roots(cls, value: object) -> object:
        return _split_paths(value)


class WebSettings(ServerSettings, DecodingSettings):
    """Settings of the page (`HALFTONE_WEB_…`)."""

    model_config = _config("HALFTONE_WEB_")

    port: Port = 7100
    """The HTTP port; 0 takes a free one."""
    metrics_port: Port = 9105
    search: SearchAddress = "127.0.0.1:7102"
    """`host:port` of the search service."""
    embedder: EmbedderAddress = "127.0.0.1:7101"
    """`host:port` of the embedder, whose state is shown."""
    trainer: TrainerAddressIfAny = "127.0.0.1:7103"
    """`host:port` of the training jobs' service; empty says that there is none."""
    data_directory: Path = Path("data/web")
    """The directory of dropped pictures and of files on their way into the archive."""
    hosts: Names = ()
    """Names, separated by commas, by which browsers may call the page besides those of loopback,
    for example `pictures.example.org`."""
    tls_certificate: Path | None = None
    """The certificate that browsers see, with those behind it; empty: HALFTONE_TLS_CERTIFICATE."""
    tls_key: Path | None = Field(default=None, repr=False)
    """The private key of the certificate."""
    tls_ca: Path | None = None
    """The certificates of the authorities whose certificates browsers have to show; empty asks for
    none."""
    proxy: str = ""
    """Names the proxy that signs people in before they reach this page, for example
    `oauth2-proxy`. The next two settings have to say how it is recognised."""
    proxy_addresses: Networks = ()
    """The addresses or networks, separated by commas, from which that proxy calls the page. What
    comes from anywhere else needs a key."""
    proxy_user_header: str = Field(default="", pattern=r"[A-Za-z0-9-]*")
    """The header in which that proxy names the person, for example `X-Forwarded-Email`. It has to
    replace one that comes from outside. The name signs verdicts."""
    proxy_scopes: Annotated[tuple[Scope, ...], NoDecode] = (Scope.READ, Scope.SEARCH, Scope.JUDGE)
    """The scopes of those whom the proxy lets through, separated by commas."""
    upload_days: float = Field(default=30.0, gt=0)
    """Days for which a dropped picture is kept after it was last looked at."""
    upload_bytes: int = Field(default=1024 * MIB, ge=32 * MIB)
    """The most bytes of dropped pictures; the ones not looked at for longest go first."""
    max_image_bytes: int = Field(default=32 * MIB, ge=1, le=32 * MIB)
    """Larger pictures are refused while they arrive."""
    max_concurrent_searches: int = Field(default=8, ge=1)
    """The most searches and comparisons of the page that run at a time."""
    max_waiting_searches: int = Field(default=8, ge=0)
    """The most searches and comparisons that wait for their turn, which visitors take one after
    the other. Further ones are refused with 429 and the time after which to try again."""
    max_import_bytes: int = Field(default=2048 * MIB, ge=1)
    """The most bytes of files that wait to be imported."""
    max_import_files: int = Field(default=20_000, ge=1)
    """The most files of one import that is started from the page."""
    min_free_bytes: int = Field(default=256 * MIB, ge=0)
    """No file is taken when the disk of the data directory has less room left."""

    @field_validator("hosts", "proxy_addresses", "proxy_scopes", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(name.strip().lower() for name in value.split(",") if name.strip())
        return value

    @field_validator("tls_certificate", "tls_key", "tls_ca", mode="before")
    @classmethod
    def _skip_empty(cls, value: object) -> object:
        return value or None

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        _check_certificate_pair(self.tls_certificate, self.tls_key)
        if self.proxy and not (self.proxy_addresses and self.proxy_user_header):
            raise ValueError(
                "HALFTONE_WEB_PROXY needs HALFTONE_WEB_PROXY_ADDRESSES and "
                "HALFTONE_WEB_PROXY_USER_HEADER: from where it calls, and how it names people"
            )
        return self


def _split_paths(value: object) -> object:
    if isinstance(value, str):
        return tuple(Path(part) for part in value.split(os.pathsep) if part)
    return value


class StackSettings(BaseSettings):
    """Settings of `halftone up` itself (`HALFTONE_UP_…`)."""

    model_config = _config("HALFTONE_UP_")

    hang_seconds: float = Field(default=20.0, ge=0)
    """A service that answers nothing for this long, not even whether it is well, is killed and
    started again; 0 waits for ever."""


class TrackingSettings(BaseSettings):
    """Settings of the MLflow server that gets training figures (`MLFLOW_…`, MLflow's own names)."""

    model_config = _config("MLFLOW_")

    tracking_uri: str = ""
    """URL of the MLflow server, for example `http://mlflow:5000`; empty sends figures nowhere."""
    experiment_name: str = "halftone"
    """The experiment under which runs are listed."""


class ClientSettings(BaseSettings):
    """Settings of the command line and of `Client()` without arguments (`HALFTONE_…`)."""

    model_config = _config("HALFTONE_")

    search: SearchAddress = "127.0.0.1:7102"
    """`host:port` of the search service."""
    embedder: EmbedderAddress = "127.0.0.1:7101"
    """`host:port` of the embedder."""
    trainer: TrainerAddress = "127.0.0.1:7103"
    """`host:port` of the training jobs' service."""
    data: Path = Path("data")
    """The directory in which `halftone up` keeps everything."""
    stacks: Path | None = None
    """The directory in which this user's running stacks are listed; empty: `.cache/halftone/stacks`
    in the home directory."""
    key: str = Field(default="", repr=False)
    """The key that is sent with each call; empty sends none."""
    author: str = Field(default="", max_length=256)
    """The author of verdicts; empty takes the login name."""


def read_tls_settings(**given: Path | str) -> TlsSettings:
    """Return the certificates of clients.

    Args:
        given: Values that take the place of the environment's, which is then not read for them.

    Raises:
        errors.InvalidArgument: A value is wrong, or a variable of the environment. The error names
            it.
    """
    try:
        return TlsSettings(**given)  # type: ignore[arg-type]  # the values are checked
    except ValidationError as error:
        raise _name_wrong_setting(error) from error


def read_client_settings(**given: str) -> ClientSettings:
    """Return the settings of clients.

    Args:
        given: Values that take the place of the environment's, which is then not read for them.

    Raises:
        errors.InvalidArgument: A variable of the environment is wrong. The error names it.
    """
    try:
        return ClientSettings(**given)  # type: ignore[arg-type]  # the values are checked
    except ValidationError as error:
        raise _name_wrong_setting(error) from error


def _name_wrong_setting(error: ValidationError) -> errors.InvalidArgument:
    why = explain_invalid(error) or str(error)
    return errors.InvalidArgument(
        f"A setting in the environment is wrong. {why}", field="environment"
    )


def explain_invalid(error: ValidationError) -> str:
    """Return what is wrong in the environment, with the names of its variables.

    Keys and the passwords of URLs are left out.

    Args:
        error: The error with which a class of this module refused to be constructed. Of an error
            of another class, the result is "".
    """
    classes = {each.__name__: each for each in _list_classes(BaseSettings)}
    refused = classes.get(error.title)
    if refused is None:
        return ""
    prefix = refused.model_config.get("env_prefix", "")
    problems = []
    for item in error.errors():
        message = item["msg"].removeprefix("Value error, ").rstrip(".")
        # "Input should be a valid integer, unable to parse string as an integer"
        message = message.replace("Input should be", "it is to be").partition(", unable to ")[0]
        # An error of no single setting has all of them as its input.
        name = str(item["loc"][0]) if item["loc"] else ""
        shown = name and str(item["input"]) and not _SECRET.search(name)
        variable = f"{prefix}{name}".upper() + (f"={item['input']}" if shown else "")
        problems.append(_CREDENTIALS.sub("://***@", f"{variable}: {message}."))
    return " ".join(problems)


def _list_classes(base: type[BaseSettings]) -> list[type[BaseSettings]]:
    return [base, *(each for child in base.__subclasses__() for each in _list_classes(child))]
