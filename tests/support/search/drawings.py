"""Pictures with many corners, or none, and what a collection holds of their records."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from halftone.services.search.store.port import EVERYTHING
from tests.support.search.search_service import name


def png(image):
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def drawing(seed):
    """A picture with many corners."""
    coarse = np.random.default_rng(seed).integers(0, 256, size=(20, 26), dtype=np.uint8)
    return png(Image.fromarray(coarse).resize((260, 200)))


def plain():
    return png(Image.new("L", (100, 80), 128))


def points(collection):
    ids = [each.id for each in collection.scan(filter=EVERYTHING)]
    return {
        name(each.payload["image_id"]): each
        for each in collection.retrieve(ids, vectors=True).values()
    }
