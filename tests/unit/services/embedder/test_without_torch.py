"""What `halftone up` runs needs no torch, nor anything else that only training needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

STARTER = Path(__file__).parents[4] / "models/starter/1"
PROGRAM = """
import sys

for name in ("torch", "torchvision", "celery", "kombu", "redis", "sklearn", "matplotlib", "nncf"):
    sys.modules[name] = None  # importing it fails as if it were not installed

import halftone.cli.app, halftone.cli.demo, halftone.stack.local
import halftone.services.search.__main__, halftone.services.embedder.__main__
from pathlib import Path
from halftone.core.settings import EmbedderSettings
from halftone.registry.version import ModelVersion
from halftone.services.embedder.encoders.choice import choose_backend
from halftone.services.embedder.encoders.decoding import Decoder
from halftone.services.embedder.loading import check_golden
from halftone.stack import training

decoder = Decoder(max_pixels=10**6, max_bytes=10**6)
version = ModelVersion(name="starter", version=1, directory=Path(sys.argv[1]))
encoder = choose_backend(EmbedderSettings(), decoder=decoder).load(version)
print(check_golden(encoder, version.directory) > 0.9999, encoder.device)
for settings in ({"backend": "torch"}, {"device": "cuda"}):
    try:
        choose_backend(EmbedderSettings(**settings), decoder=decoder)
    except Exception as error:
        print(type(error).__name__, error)
"""


def test_a_version_is_embedded_without_torch_and_what_needs_it_says_so():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(STARTER)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, *refusals = done.stdout.splitlines()
    assert first == "True cpu"
    assert len(refusals) == 2
    for refusal in refusals:
        assert refusal.startswith("FailedPrecondition")
        assert "pip install 'halftone-search[torch]'" in refusal
