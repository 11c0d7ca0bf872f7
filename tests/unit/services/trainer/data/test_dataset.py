"""Training pictures and their order."""

import itertools
import shutil

import pytest
import torch

from halftone.services.trainer.data.dataset import read_pictures
from halftone.services.trainer.data.sampling import batches, hold_out
from halftone.vision.preprocessing import Preprocessing


def test_reads_what_the_manifest_names(collection):
    pictures = read_pictures([collection], preprocessing=Preprocessing(size=24))

    assert len(pictures) == 40
    assert pictures.ids[:2] == ("p0", "p1")
    assert pictures.pixels.shape == (40, 24, 24)
    assert pictures.pixels.dtype == torch.uint8


def test_leaves_out_and_reports_what_cannot_be_read(collection, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(collection, folder)
    (folder / "3.png").write_bytes(b"no picture")
    (folder / "5.png").unlink()

    pictures = read_pictures([folder], preprocessing=Preprocessing(size=24))

    assert len(pictures) == 38
    assert [image_id for image_id, _ in pictures.rejected] == ["p3", "p5"]
    assert "p3" not in pictures.ids


def test_held_out_rows_are_apart_and_the_same_for_a_seed():
    training, validation = hold_out(40, count=10, seed=3)

    assert sorted([*training.tolist(), *validation.tolist()]) == list(range(40))
    assert len(validation) == 10
    assert torch.equal(validation, hold_out(40, count=10, seed=3)[1])
    assert not torch.equal(validation, hold_out(40, count=10, seed=4)[1])


def test_an_epoch_has_every_picture_once_in_an_order_of_its_own():
    steps = [rows.tolist() for rows in itertools.islice(batches(12, size=4, seed=0), 6)]
    first, second = (list(itertools.chain(*part)) for part in (steps[:3], steps[3:]))

    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second


@pytest.mark.parametrize("start", [1, 3, 4, 8])
def test_order_depends_on_the_step_alone(start):
    whole = [rows.tolist() for rows in itertools.islice(batches(14, size=4, seed=5), 12)]
    resumed = [
        rows.tolist()
        for rows in itertools.islice(batches(14, size=4, seed=5, start=start), 12 - start)
    ]

    assert resumed == whole[start:]


def test_a_batch_larger_than_the_collection_is_refused():
    with pytest.raises(ValueError, match="at least 9"):
        next(batches(8, size=9, seed=0))
