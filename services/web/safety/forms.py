"""Tokens that prove that a form was made by this page for this browser (against CSRF)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Final

from halftone.core import errors, files

if TYPE_CHECKING:
    from pathlib import Path

COOKIE: Final = "halftone_browser"
FIELD: Final = "token"
HEADER: Final = "x-form-token"
_SECRET_BYTES: Final = 32


class Forms:
    """Makes and checks the tokens of forms.

    A token is made of a secret of this installation and of a random cookie that only the browser
    and this page know. It thus holds for one browser, on all of its pages, for as long as the
    cookie lives.

    Args:
        secret: At least 32 random bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def open(cls, path: Path) -> Forms:
        """Return forms with the secret of a file, which is made if it is missing.

        A restart thus leaves forms valid that are open in a browser.
        """
        try:
            secret = path.read_bytes()
        except FileNotFoundError:
            secret = b""
        if len(secret) < _SECRET_BYTES:
            secret = secrets.token_bytes(_SECRET_BYTES)
            files.replace_file(files.with_folders(path), secret)
            path.chmod(0o600)
        return cls(secret)

    def make_token(self, browser: str) -> str:
        """Return the token of a browser's forms.

        Args:
            browser: The value of the browser's cookie.
        """
        return hmac.new(self._secret, browser.encode(), hashlib.sha256).hexdigest()

    def check(self, token: str, *, browser: str) -> None:
        """Check the token that came with a form.

        Raises:
            errors.FailedPrecondition: It is missing, or was made for another browser.
        """
        expected = self.make_token(browser) if browser else ""
        if not expected or not hmac.compare_digest(expected.encode(), token.encode()):
            raise errors.FailedPrecondition(
                "This form is too old, or cookies are switched off. Load the page again and "
                "repeat what you did.",
                subject="form",
                reason="FORM_TOKEN",
            )


def make_browser() -> str:
    """Return a new value of the cookie by which a browser is known."""
    return secrets.token_urlsafe(18)


def read_browser(cookies: str) -> str:
    """Return the value of the cookie in a `Cookie` header; "" if there is none."""
    try:
        morsel = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""
