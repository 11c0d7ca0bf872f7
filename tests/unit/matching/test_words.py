"""Visual words: a sparse vector, the same for the same features; the command that learns them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from halftone.core import errors
from halftone.imaging.orientations import UPRIGHT, orientations
from halftone.matching.features import LocalFeatures, extract
from halftone.matching.fingerprint import archive_fingerprint, fingerprint
from halftone.matching.vocabulary_build import learn, main
from halftone.matching.words import (
    DIRECTIONS,
    WEIGHTS,
    Vocabulary,
    Words,
    likeness,
    no_words,
    turn,
    unit,
)


def find(query: Words, stored: Words) -> float:
    """The score that an index gives a picture."""
    _, rows, columns = np.intersect1d(query.indices, stored.indices, return_indices=True)
    return float(query.values[rows] @ stored.values[columns])


def test_words_are_a_sparse_vector_of_unit_length(picture):
    words = Vocabulary.load().words(extract(picture(1)))
    assert words.indices.dtype == np.uint32
    assert words.values.dtype == np.float32
    assert (np.diff(words.indices.astype(int)) > 0).all()
    assert words.indices.max() < len(Vocabulary.load()) * DIRECTIONS
    assert (words.values > 0).all()
    assert np.linalg.norm(words.values) == pytest.approx(1, abs=1e-5)


def test_a_part_is_more_like_its_whole_than_another_picture(picture):
    vocabulary = Vocabulary.load()
    whole, other = (vocabulary.words(extract(picture(seed))) for seed in (1, 2))
    part = vocabulary.words(extract(picture(1).crop((60, 40, 300, 220))))
    assert find(turn(part), whole) > 2 * find(turn(part), other)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("skew", [0, 10])
def test_a_query_finds_what_lies_as_it_does(picture, rotation, skew):
    """Turned by quarters, and by a little more; by other quarters it finds next to nothing."""
    vocabulary, image = Vocabulary.load(), picture(1)
    words = vocabulary.words(extract(image))
    printed = vocabulary.words(extract(image.rotate(-rotation - skew, expand=True, fillcolor=200)))

    scores = {each: find(turn(words, rotation=each), printed) for each in (0, 90, 180, 270)}

    assert max(scores, key=scores.__getitem__) == rotation
    assert scores.pop(rotation) > 3 * max(scores.values())


def test_a_query_scores_1_with_its_own_picture(picture):
    words = Vocabulary.load().words(extract(picture(1)))

    assert find(turn(words), words) == pytest.approx(1, abs=1e-5)
    # A word in two neighbouring directions is one word.
    beside = Words(np.array([32, 33], np.uint32), np.full(2, 0.5**0.5, np.float32))
    assert find(turn(beside), beside) == pytest.approx(1)


def test_directions_are_parts_of_a_full_turn():
    """The last one lies beside the first."""
    last = Words(np.array([5 * DIRECTIONS - 1], np.uint32), np.ones(1, np.float32))
    first = Words(np.array([4 * DIRECTIONS], np.uint32), np.ones(1, np.float32))

    assert find(turn(last), first) == find(turn(first), last) == 1
    assert find(turn(last, rotation=90), Words(first.indices + 3, first.values)) == 1
    assert not find(turn(last), Words(first.indices + 2, first.values))


def test_likeness_does_not_know_directions(picture):
    vocabulary, image = Vocabulary.load(), picture(1)
    words, turned = (
        vocabulary.words(extract(each)) for each in (image, image.rotate(45, expand=True))
    )
    plain = vocabulary.drop_directions(words)

    assert likeness(plain, plain) == pytest.approx(1, abs=1e-5)
    assert plain.indices.max() < len(vocabulary)
    assert np.linalg.norm(plain.values) == pytest.approx(1, abs=1e-5)
    assert likeness(plain, vocabulary.drop_directions(turned)) > 2 * likeness(words, turned)
    assert not len(vocabulary.drop_directions(no_words()).indices)


def test_plain_pictures_have_no_words():
    words = Vocabulary.load().words(extract(Image.new("L", (300, 200), 128)))
    assert len(words.indices) == len(words.values) == 0


def test_a_word_that_a_picture_repeats_counts_once(picture):
    found = extract(picture(1))
    again = np.r_[np.arange(len(found)), np.zeros(200, int)]  # as the letters of a page do
    repeated = LocalFeatures(
        points=found.points[again],
        descriptors=found.descriptors[again],
        width=found.width,
        height=found.height,
    )
    once, often = (Vocabulary.load().words(each) for each in (found, repeated))
    np.testing.assert_array_equal(once.indices, often.indices)
    np.testing.assert_allclose(once.values, often.values)


def test_two_levels_find_almost_always_the_nearest_word(picture):
    generator = np.random.default_rng(0)
    # Centroids where descriptors are, as the packaged ones are to press pictures.
    descriptors = np.concatenate([extract(picture(seed)).descriptors for seed in range(20, 26)])
    centroids = descriptors[generator.choice(len(descriptors), 1500, replace=False)]
    vocabulary = Vocabulary(centroids, np.ones(1500, np.float32), version="test")
    asked = extract(picture(1)).descriptors
    nearest = (unit(asked) @ unit(centroids).T).argmax(axis=1)
    assert (vocabulary.assign(asked) == nearest).mean() > 0.9


def test_a_query_is_fingerprinted_in_every_orientation_asked_for(picture):
    image = picture(1)
    every = fingerprint(image)
    assert tuple(every.pdq) == orientations(mirrored=True, rotated=True)
    assert set(every.words) == set(every.negative_words) == {False, True}
    kept = archive_fingerprint(image, full_size=(960, 720))
    assert list(kept.pdq) == [UPRIGHT]
    assert list(kept.words) == [False]
    assert kept.features.width == 960
    mirrored = archive_fingerprint(ImageOps.mirror(image))
    assert find(turn(every.words[True]), mirrored.words[False]) > 0.75
    assert not kept.negative_words
    for way, words in every.negative_words.items():
        turned = ImageOps.mirror(image) if way else image
        inverted = archive_fingerprint(ImageOps.invert(turned))
        assert find(turn(words), inverted.words[False]) > 0.75
    assert not fingerprint(image, negative=False).negative_words
    assert list(fingerprint(image, mirrored=True, rotated=False).pdq) == list(
        orientations(mirrored=True, rotated=False)
    )


def test_several_pictures_get_the_words_that_each_gets_alone(picture):
    vocabulary = Vocabulary.load()
    features = [extract(picture(1)), extract(Image.new("L", (99, 99))), extract(picture(2))]
    for words, each in zip(vocabulary.words_of_all(features), features, strict=True):
        alone = vocabulary.words(each)
        np.testing.assert_array_equal(words.indices, alone.indices)
        np.testing.assert_array_equal(words.values, alone.values)


def test_the_command_learns_the_same_words_again(tmp_path, picture):
    for seed in range(3):
        picture(seed).save(tmp_path / f"{seed}.png")
    (tmp_path / "notes.jpg").write_text("no picture")
    for name in ("a.npz", "b.npz"):
        words = ["--words", "64", "--version", "v", "--out", str(tmp_path / name)]
        assert main([str(tmp_path), *words]) == 0
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    vocabulary = Vocabulary.read(tmp_path / "a.npz")
    assert (len(vocabulary), vocabulary.version) == (64, f"v.{WEIGHTS}")


def test_the_command_says_what_it_lacks(tmp_path, capsys, picture):
    assert main([str(tmp_path), "--version", "v"]) == 2
    assert "no pictures" in capsys.readouterr().err
    with pytest.raises(errors.InvalidArgument, match="too few"):
        learn([extract(picture(1)).descriptors], words=100_000, seed=0)


def test_a_damaged_vocabulary_is_data_loss(tmp_path):
    path = tmp_path / "bad.npz"
    for content in (b"", b"PK\x03\x04 nothing", b"text"):
        path.write_bytes(content)
        with pytest.raises(errors.DataLoss):
            Vocabulary.read(path)
    with pytest.raises(errors.DataLoss):
        Vocabulary.read(tmp_path / "missing.npz")
    np.savez(path, format=99, version="v", centroids=np.ones((2, 128), np.uint8), idf=np.ones(2))
    with pytest.raises(errors.DataLoss, match="format 99"):
        Vocabulary.read(path)
