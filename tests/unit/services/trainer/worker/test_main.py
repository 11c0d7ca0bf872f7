"""The device that a worker holds."""

from __future__ import annotations

import pytest

from halftone.core import errors, training
from halftone.services.trainer.worker.__main__ import hold_device


def test_no_job_can_have_the_directory_of_something_else(tmp_path):
    with hold_device(tmp_path, device="cpu"):
        for entry in tmp_path.iterdir():
            with pytest.raises(errors.InvalidArgument):
                training.check_request_id(entry.name)


def test_a_device_has_one_worker_and_keeps_its_name(tmp_path):
    with hold_device(tmp_path, device="cuda:1") as first:
        with (
            pytest.raises(errors.FailedPrecondition) as caught,
            hold_device(tmp_path, device="cuda:1", patience=0.1),
        ):
            pass
        assert caught.value.reason == "DEVICE_IN_USE"
        with hold_device(tmp_path, device="cpu") as other:
            assert other.holder != first.holder
    with hold_device(tmp_path, device="cuda:1") as again:
        assert again.holder == first.holder
