"""Channels to services, with TLS where the settings say whom to trust."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc

from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.core.settings import TlsSettings

    Options = Sequence[tuple[str, int | str]]

TLS: Final = "TLS"
"""The reason of the error if a certificate cannot be used, or is not trusted."""


def open_channel(address: str, *, tls: TlsSettings, options: Options) -> grpc.Channel:
    """Return a channel to `host:port`, with TLS if the settings say whom to trust.

    Raises:
        errors.FailedPrecondition: A certificate cannot be read (`TLS`).
    """
    credentials = _make_credentials(tls)
    if credentials is None:
        return grpc.insecure_channel(address, options=options)
    return grpc.secure_channel(address, credentials, options=_add_name(options, tls))


def open_aio_channel(address: str, *, tls: TlsSettings, options: Options) -> grpc.aio.Channel:
    """Return a channel as `open_channel` does, for asyncio."""
    credentials = _make_credentials(tls)
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, credentials, options=_add_name(options, tls))


def _make_credentials(tls: TlsSettings) -> grpc.ChannelCredentials | None:
    if tls.ca is None:
        return None
    return grpc.ssl_channel_credentials(
        root_certificates=read_file(tls.ca) if isinstance(tls.ca, Path) else None,
        private_key=None if tls.key is None else read_file(tls.key),
        certificate_chain=None if tls.certificate is None else read_file(tls.certificate),
    )


def _add_name(options: Options, tls: TlsSettings) -> Options:
    if not tls.server_name:
        return options
    return [*options, ("grpc.ssl_target_name_override", tls.server_name)]


def read_file(file: Path) -> bytes:
    """Return what a file of certificates or keys holds.

    Raises:
        errors.FailedPrecondition: It cannot be read (`TLS`).
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise make_refusal(file, error) from error


def make_refusal(file: Path, error: Exception) -> errors.FailedPrecondition:
    """Return the error that says that a certificate cannot be used."""
    why = getattr(error, "strerror", None) or str(error)
    return errors.FailedPrecondition(
        f"The certificate {file} and its key cannot be used: {why}.",
        subject=str(file),
        reason=TLS,
    )
