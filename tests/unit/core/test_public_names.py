"""The names that programs import, as docs/api.md has them."""

from __future__ import annotations

import inspect

import halftone.errors
from halftone.archive import manifests, read_manifest
from halftone.core import errors


def test_every_error_has_its_public_name():
    defined = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception) and not name.startswith("_")
    }
    assert set(halftone.errors.__all__) == defined
    assert all(getattr(halftone.errors, name) is getattr(errors, name) for name in defined)


def test_manifests_are_read_by_a_public_name():
    assert read_manifest is manifests.read_manifest
