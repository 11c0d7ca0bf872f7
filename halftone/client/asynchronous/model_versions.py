"""The client's methods for published model versions and promotions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftone.client import models
from halftone.client.asynchronous.connection import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from halftone.client.models import ModelVersion, Promotion


class ModelMethods(Connection):
    """The methods for model versions and the promotions that choose which one answers searches."""

    def model_versions(
        self, *, page_size: int | None = None, timeout: float | None = None
    ) -> AsyncIterator[ModelVersion]:
        """Iterate over the published model versions, by name, then by number.

        Pages of `page_size` (at most 1000) are fetched as needed; `timeout` is for each of them.
        """
        return self._iterate(
            lambda token: models.list_versions(page_size=page_size, page_token=token), timeout
        )

    async def model_version(self, name: str, *, timeout: float | None = None) -> ModelVersion:
        """Return a version with its spec and metrics; `name` alone means its newest version.

        Raises:
            errors.NotFound: There is no such version.
        """
        return await self._run(models.get(name), timeout)

    async def promote(
        self,
        name: str,
        *,
        force: bool = False,
        groups: Sequence[Sequence[str]] = (),
        timeout: float | None = None,
    ) -> Promotion:
        """Start to make a version the one that answers; `watch_promotion` tells how it goes.

        The archive is embedded anew while the old version answers, the two are compared, and a
        version that is worse is refused. Asked again, it returns the promotion that runs.

        Args:
            name: `name/version`, or `name` for its newest version.
            force: Switch even if the version is worse.
            groups: Names of images that show the same picture, to compare the versions on.
                Default: the images with the label `group`.
            timeout: Deadline in seconds, of this call and not of the promotion.

        Raises:
            errors.NotFound: There is no such version.
            errors.FailedPrecondition: Another promotion runs, or the version is active.
        """
        return await self._run(models.promote(name, force=force, groups=groups), timeout)

    async def roll_back(self, *, timeout: float | None = None) -> Promotion:
        """Start to promote the version that answered before the active one.

        A second one goes further back. If the call fails, it is therefore not tried again.

        Raises:
            errors.FailedPrecondition: No version answered before, or another promotion runs.
        """
        return await self._run(models.roll_back(), timeout)

    async def promotion(self, *, timeout: float | None = None) -> Promotion:
        """Return the promotion that runs, or the last one.

        Raises:
            errors.NotFound: Nothing was ever promoted.
        """
        return await self._run(models.promotion(), timeout)

    def watch_promotion(self) -> AsyncIterator[Promotion]:
        """Iterate over the promotion's states: as it is now, then whenever it changes, to its end.

        Connects again when the connection is lost, as often as a call is tried again.
        """
        return self._watch(models.watch())

    async def cancel_promotion(self, *, timeout: float | None = None) -> Promotion:
        """Stop the promotion that runs; the version that answers goes on answering.

        Raises:
            errors.FailedPrecondition: It has ended, or is switching already.
        """
        return await self._run(models.cancel(), timeout)

    async def delete_model_version(self, name: str, *, timeout: float | None = None) -> None:
        """Delete a version and its collection.

        Raises:
            errors.FailedPrecondition: It is active, or being promoted.
        """
        await self._run(models.delete(name), timeout)
