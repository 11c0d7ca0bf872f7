"""The whole search on a labelled archive, without a model: descriptors are given."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from halftone.evaluation import labelled
from halftone.evaluation.judged import WHOLE_SEARCH
from halftone.evaluation.labelled import EmbeddedArchive, LabelledArchive
from halftone.evaluation.metrics import judge
from halftone.evaluation.truth import Truth
from halftone.evaluation.whole_search import Answers, make_fingerprints, search_archive
from halftone.imaging.orientations import orientations

WAYS = orientations(mirrored=True, rotated=True)


def picture(seed):
    blocks = np.random.default_rng(seed).integers(0, 255, (9, 12), dtype=np.uint8)
    return Image.fromarray(blocks).resize((360, 270), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Six pictures, each printed twice; the descriptors of the second printings are all alike."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(3)
    paths, groups, descriptors = [], [], []
    for number in range(6):
        whole = picture(number)
        for copy, image in enumerate((whole, whole.crop((40, 30, 330, 250)))):
            paths.append(folder / f"{number}-{copy}.png")
            image.save(paths[-1])
            groups.append(f"g{number}")
            descriptors.append(generator.normal(size=8) if not copy else np.ones(8))
    rows = np.array(descriptors, dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = tuple(path.stem for path in paths)
    listed = LabelledArchive(
        name="pictures",
        ids=ids,
        paths=tuple(paths),
        journals=("J",) * len(ids),
        names=ids,
        groups=tuple(groups),
    )
    return EmbeddedArchive(
        archive=listed, descriptors=rows, views=np.stack([rows] * len(WAYS)), digest="d"
    )


@pytest.fixture(scope="module")
def answers(archive):
    steps = []
    found = search_archive(archive, progress=steps.append)
    assert sum(steps) == 2 * len(archive.archive.ids)
    return found


class TestSearchArchive:
    def test_comparison_finds_what_the_descriptor_misses(self, archive, answers):
        judged, draws = labelled.judge_archive(
            archive, answers=answers, threshold=0.5, resamples=50
        )
        assert judged.metrics["recall_at_1"] == 1.0
        assert judged.metrics["recall"] > 0.9
        assert judged.metrics["precision"] == 1.0
        assert judged.variants["the descriptor alone"]["recall_at_1"] < 0.5
        assert judged.measured == WHOLE_SEARCH
        assert judged.is_whole_search
        assert set(draws) >= {"recall_at_1", "precision"}

    def test_no_picture_finds_itself(self, answers):
        assert not np.any(answers.queries == answers.hits)

    def test_it_needs_all_orientations(self, archive):
        upright = EmbeddedArchive(
            archive=archive.archive, descriptors=archive.descriptors, views=None, digest="d"
        )
        with pytest.raises(ValueError, match="all orientations"):
            search_archive(upright)


class TestAnswers:
    FOUND = Answers(
        count=3,
        queries=np.array([0, 0, 2]),
        hits=np.array([1, 2, 0]),
        ranking=np.array([0.9, 0.2, 0.7], dtype=np.float32),
        probabilities=np.array([0.9, 0.4, 0.7], dtype=np.float32),
    )

    @pytest.mark.parametrize(("start", "stop"), [(0, 3), (0, 1), (1, 3), (2, 3), (1, 2)])
    def test_blocks_are_those_of_the_whole_table(self, start, stop):
        ranking, pairs = self.FOUND.block(start, stop)
        rows = slice(start, stop)
        whole = np.array([[0, 0.9, 0.2], [0, 0, 0], [0.7, 0, 0]])
        assert ranking == pytest.approx(whole[rows])
        # A pair counts by the larger answer of its two sides.
        either = np.array([[0, 0.9, 0.7], [0.9, 0, 0], [0.7, 0, 0]])
        assert pairs == pytest.approx(either[rows])

    def test_they_can_be_judged(self):
        truth = Truth.of_groups(["x", "x", ""])
        judged = judge(self.FOUND, truth=truth)
        assert judged.found_first.tolist() == [1.0, 0.0], "what finds nothing finds no match"
        assert judged.true_scores.tolist() == [900_000]

    def test_a_search_that_finds_nothing(self):
        nothing = np.array([], dtype=np.int64)
        none = np.array([], dtype=np.float32)
        empty = Answers(count=2, queries=nothing, hits=nothing, ranking=none, probabilities=none)
        assert not np.any(empty.block(0, 2))


def test_fingerprints_know_the_full_size(tmp_path):
    """As the service makes them: coordinates are pixels of the file and not of the reduced copy."""
    path = tmp_path / "large.jpg"
    picture(1).resize((2400, 1800)).save(path)
    (made,) = make_fingerprints([path])
    assert (made.features.width, made.features.height) == (2400, 1800)
    assert set(made.pdq) == set(WAYS)
