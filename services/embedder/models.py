"""Keeps this process's loaded model versions in step with the registry.

It loads the active version, the previous one, the versions that the search service needs, and the
newest others, so that an archive can be embedded again before its version is promoted. A version
that does not match its hashes, fails to load or fails its golden vectors is refused, and not tried
again unless its files change. It never replaces a version that works. If the active version fails
at the start of the process, the previous one answers instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from halftone.core import errors, telemetry
from halftone.registry.manifest import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from halftone.registry.pointer import Pointer
    from halftone.registry.version import ModelVersion
    from halftone.registry.versions import Registry
    from halftone.services.embedder.encoders.encoder import Encoder
    from halftone.services.embedder.metrics import EmbedderMetrics

_log = telemetry.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class LoadedEncoder:
    """A loaded model version: its encoder, and whether it answers requests that name no version."""

    encoder: Encoder
    active: bool


class Models:
    """Loads, keeps and finds encoders. `refresh` blocks; the other methods are thread-safe."""

    def __init__(
        self,
        *,
        registry: Registry,
        load: Callable[[ModelVersion], Encoder],
        metrics: EmbedderMetrics,
        most: int,
    ) -> None:
        """Start without a loaded version. `refresh` loads them.

        Args:
            registry: The registry of published versions.
            load: Returns the encoder of a verified version; raises if the version is not fit to
                serve.
            metrics: The metrics that count loads.
            most: The most versions to keep loaded.
        """
        self._registry = registry
        self._load = load
        self._metrics = metrics
        self._most = most
        # Replaced and never changed, so that readers on other threads need no lock.
        self._loaded: dict[str, Encoder] = {}
        self._active = ""
        # The state of the files of each version that was refused, and why it was.
        self._refused: dict[str, tuple[object, str]] = {}

    @property
    def ready(self) -> bool:
        """Whether a version is active and answers requests that name no version."""
        return bool(self._active)

    def get(self, reference: str) -> Encoder:
        """Return the encoder of a version.

        Args:
            reference: `name/version`, or empty for the active one.

        Raises:
            errors.NotFound: The version is not loaded.
            errors.Unavailable: No version is active yet.
        """
        loaded = self._loaded
        encoder = loaded.get(reference or self._active)
        if encoder is None and not self._active:
            raise errors.Unavailable(
                "No model version is loaded yet.", reason="NO_MODEL", retry_after=1.0
            )
        if encoder is None:
            raise errors.NotFound(
                f"Model version {reference} is not loaded here; loaded: {', '.join(loaded)}.",
                resource_type="model version",
                resource_name=reference,
            )
        return encoder

    def list_loaded(self) -> list[LoadedEncoder]:
        """Return the loaded versions, the active one first."""
        loaded, active = self._loaded, self._active
        return sorted(
            (
                LoadedEncoder(encoder=encoder, active=name == active)
                for name, encoder in loaded.items()
            ),
            key=lambda model: (not model.active, model.encoder.model_version),
        )

    def describe_problem(self) -> str:
        """Return in a sentence why no version is active, as far as the last `refresh` found out."""
        if not self._refused:
            return "No model version is published and active yet."
        parts = [
            f"{name or 'the registry'}: {error.rstrip('.')}"
            for name, (_, error) in self._refused.items()
        ]
        return f"No model version can be loaded; {'; '.join(parts)}."

    def refresh(self) -> None:
        """Load newly published versions and follow the registry's pointer. Never raises."""
        try:
            wanted, pointer = self._list_wanted()
        except (OSError, errors.HalftoneError) as error:
            if self._refused.get("") != (None, str(error)):
                _log.error("registry_unreadable", error=str(error))
            self._refused[""] = (None, str(error))
            return
        self._refused.pop("", None)
        active, previous = pointer.active, pointer.previous
        for version in wanted:
            if version.id not in self._loaded:
                self._try(version)
                self._follow(active)
        self._follow(active)
        if not self._active and previous in self._loaded:
            _log.error("model_fallback", model_version=previous, instead_of=active)
            self._active = previous
        keep = {version.id for version in wanted} | {self._active}
        if self._loaded.keys() - keep:
            _log.info("models_unloaded", model_versions=sorted(self._loaded.keys() - keep))
            self._loaded = {name: self._loaded[name] for name in self._loaded.keys() & keep}

    def _follow(self, active: str | None) -> None:
        if active in self._loaded and active != self._active:
            _log.info("model_active", model_version=active, before=self._active or None)
            self._active = active

    def _list_wanted(self) -> tuple[list[ModelVersion], Pointer]:
        """Return the versions that should be loaded, most important first, and the pointer."""
        versions = {version.id: version for version in self._registry.list()}
        pointer = self._registry.pointer()
        # An archive may use, or be promoted to, another version than that of the pointer.
        named = (pointer.active, pointer.previous, *self._registry.list_needed())
        first = [name for name in dict.fromkeys(named) if name in versions]
        others = sorted(versions.keys() - set(first), key=lambda name: -versions[name].published)
        return [versions[name] for name in (*first, *others)][: self._most], pointer

    def _try(self, version: ModelVersion) -> None:
        # A version is immutable. If its directory changed all the same, try again.
        stamp = _stamp(version)
        if version.id in self._refused and self._refused[version.id][0] == stamp:
            return
        try:
            self._registry.verify(version)
            encoder = self._load(version)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with it, the others go on
            self._refused[version.id] = (stamp, str(error))
            self._metrics.model_loads.labels("refused").inc()
            expected = isinstance(error, errors.HalftoneError)
            _log.error(
                "model_refused",
                model_version=version.id,
                error=str(error),
                exc_info=None if expected else error,
            )
            return
        self._refused.pop(version.id, None)
        self._metrics.model_loads.labels("loaded").inc()
        self._loaded = {**self._loaded, version.id: encoder}
        _log.info(
            "model_loaded",
            model_version=version.id,
            device=encoder.device,
            backend=encoder.backend,
            dimension=encoder.dimension,
        )


def _stamp(version: ModelVersion) -> object:
    try:
        paths = (version.directory / MANIFEST, *version.directory.iterdir())
        return tuple(sorted((path.name, path.stat().st_mtime_ns) for path in paths))
    except OSError as error:
        return str(error)
