"""The certificate of a service, which follows its files.

A renewed certificate counts from the next connection on, and one that cannot be used leaves the
last one in place.
"""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from halftone.core import errors, telemetry
from halftone.core.tls import make_refusal, read_file

if TYPE_CHECKING:
    from halftone.core.settings import TlsSettings

_log = telemetry.get_logger(__name__)


class ServerCertificate:
    """The certificate of a service, read again when its files change. Safe between threads.

    Args:
        certificate: The file of the certificate, and of those between it and its authority.
        key: The file of its private key.
        authorities: The file of the authorities whose certificates callers have to show; None
            asks callers for none.

    Raises:
        errors.FailedPrecondition: A file cannot be read, or they do not belong together (`TLS`).
    """

    def __init__(self, certificate: Path, key: Path, *, authorities: Path | None = None) -> None:
        self._certificate, self._key, self._authorities = certificate, key, authorities
        self._lock = threading.Lock()
        self._state = self._look()
        self._configuration = self._load()

    def make_credentials(self) -> grpc.ServerCredentials:
        """Return the credentials of a gRPC server, which follow the files."""
        credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            self._configuration,
            self._find_newer,  # type: ignore[arg-type]  # None says that nothing has changed
            require_client_authentication=self._authorities is not None,
        )
        return credentials

    def make_context(self) -> ssl.SSLContext:
        """Return a context for HTTPS. `refresh` makes it follow the files."""
        context = _make_context(self._certificate, self._key)
        if self._authorities is not None:
            context.load_verify_locations(self._authorities)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def refresh(self, context: ssl.SSLContext) -> None:
        """Put the certificate into a context of `make_context` if its files have changed.

        Authorities that are added count, too; those that are taken away count until a restart.
        """
        if self._find_newer() is not None:
            context.load_cert_chain(self._certificate, self._key)
            if self._authorities is not None:
                context.load_verify_locations(self._authorities)

    def _find_newer(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what the files hold if they have changed and can be used; otherwise None."""
        with self._lock:
            state = self._look()
            if state == self._state:
                return None
            # Files that are just being replaced do not fit together; the next look sees them again.
            self._state = state
            try:
                self._configuration = self._load()
            except errors.FailedPrecondition as error:
                _log.warning("certificate_not_renewed", error=error.message)
                return None
            _log.info("certificate_renewed", file=str(self._certificate))
            return self._configuration

    def _look(self) -> tuple[tuple[int, ...], ...]:
        files = (self._certificate, self._key, self._authorities)
        return tuple(_state_of(file) for file in files if file is not None)

    def _load(self) -> grpc.ServerCertificateConfiguration:
        # gRPC takes what it cannot use, and every handshake fails.
        _make_context(self._certificate, self._key)
        configuration: grpc.ServerCertificateConfiguration = (
            grpc.ssl_server_certificate_configuration(
                [(read_file(self._key), read_file(self._certificate))],
                root_certificates=None
                if self._authorities is None
                else read_file(self._authorities),
            )
        )
        return configuration


def read_server_certificate(tls: TlsSettings) -> ServerCertificate | None:
    """Return the certificate of a service; None if the settings name none.

    Raises:
        errors.FailedPrecondition: It cannot be used (`TLS`).
    """
    if tls.certificate is None or tls.key is None:
        return None
    authorities = tls.ca if tls.require_certificates and isinstance(tls.ca, Path) else None
    return ServerCertificate(tls.certificate, tls.key, authorities=authorities)


def _make_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except (OSError, ValueError) as error:
        raise make_refusal(certificate, error) from error
    return context


def _refuse_password() -> str:
    raise ValueError("its key has a password")


def _state_of(file: Path) -> tuple[int, ...]:
    try:
        status = file.stat()
    except OSError as error:
        return (error.errno or 0,)
    return (status.st_ino, status.st_dev, status.st_mtime_ns, status.st_size)
