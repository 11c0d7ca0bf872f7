"""Whose calibration a model version goes by."""

from __future__ import annotations

import json

import pytest
import structlog

from halftone.matching.probability import Calibration, Evidence
from halftone.registry.versions import Registry
from halftone.services.search.comparison.calibrations import Calibrations

ALIKE = [Evidence(similarity=0.9, pdq=None, words=None, verification=None)]


def published(registry, *, calibration):
    folder = registry.directory / "press" / "1"
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(json.dumps({"calibration": calibration}))


class TestCalibrations:
    def test_a_version_has_its_own(self, tmp_path):
        registry = Registry(tmp_path)
        values = Calibration.default().to_dict()
        published(registry, calibration={**values, "intercept": values["intercept"] - 50})
        calibrations = Calibrations(registry)
        own = calibrations.of("press/1").probabilities(ALIKE)
        default = Calibration.default().probabilities(ALIKE)
        assert own[0] < default[0]
        assert calibrations.of("press/1") is calibrations.of("press/1")

    def test_without_one_the_default_serves(self, tmp_path):
        registry = Registry(tmp_path)
        published(registry, calibration=None)
        calibrations = Calibrations(registry)
        with structlog.testing.capture_logs() as logged:
            assert calibrations.of("press/1") is Calibration.default()
        assert not logged

    @pytest.mark.parametrize("calibration", [{"format": 99}, {}, "x", [1]])
    def test_a_damaged_one_is_said_once_and_searches_go_on(self, tmp_path, calibration):
        registry = Registry(tmp_path)
        published(registry, calibration=calibration)
        calibrations = Calibrations(registry)
        with structlog.testing.capture_logs() as logged:
            for version in ("press/1", "press/1", "other/2"):
                assert calibrations.of(version) is Calibration.default()
        assert [each["model_version"] for each in logged] == ["press/1", "other/2"]
