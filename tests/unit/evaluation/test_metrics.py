"""Ranking metrics against their definitions written out, and against scikit-learn."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from halftone.evaluation import metrics
from halftone.evaluation.metrics import Cosines, Matrix, Truth, figures, judge, threshold_of
from halftone.imaging.orientations import orientations

SIZE = 7
PAIRS = list(itertools.combinations(range(SIZE), 2))


@st.composite
def cases(draw):
    """Scores full of ties, and pairs that match, do not, or are left out."""
    values = draw(st.lists(st.integers(-3, 3), min_size=len(PAIRS), max_size=len(PAIRS)))
    kinds = draw(st.lists(st.integers(0, 2), min_size=len(PAIRS), max_size=len(PAIRS)))
    scores = np.zeros((SIZE, SIZE))
    for (a, b), value in zip(PAIRS, values, strict=True):
        scores[a, b] = scores[b, a] = value / 4
    chosen = {
        kind: [pair for pair, its in zip(PAIRS, kinds, strict=True) if its == kind]
        for kind in (1, 2)
    }
    return scores, chosen[1], chosen[2]


def truth_of(matches, *, ignored=(), count=SIZE, groups=None) -> Truth:
    return Truth(
        count=count,
        matches=np.array(matches, dtype=np.int64).reshape(-1, 2),
        ignored=np.array(ignored, dtype=np.int64).reshape(-1, 2),
        groups=np.zeros(count, dtype=np.int64) if groups is None else np.array(groups),
    )


def ranking(scores, query, *, matches, ignored):
    """Whether each candidate matches, in the order of the ranking; what matches is last of ties."""
    left_out = {frozenset(pair) for pair in ignored}
    true = {frozenset(pair) for pair in matches}
    candidates = [
        other
        for other in range(SIZE)
        if other != query and frozenset((query, other)) not in left_out
    ]
    keyed = sorted(
        (-scores[query, other], frozenset((query, other)) in true) for other in candidates
    )
    return [matching for _, matching in keyed]


@settings(max_examples=60, deadline=None)
@given(cases(), st.integers(-4, 4))
def test_every_figure_is_what_its_definition_says(case, level):
    scores, matches, ignored = case
    judgement = judge(Matrix(scores), truth=truth_of(matches, ignored=ignored))
    found = figures(judgement, threshold=level / 4)

    queries = sorted({image for pair in matches for image in pair})
    assert judgement.truth.queries.tolist() == queries
    rankings = [ranking(scores, query, matches=matches, ignored=ignored) for query in queries]
    first, precisions, gains = [], [], []
    for ranked in rankings:
        places = [place for place, hit in enumerate(ranked, start=1) if hit]
        first.append(float(ranked[0]))
        precisions.append(np.mean([n / place for n, place in enumerate(places, start=1)]))
        ideal = sum(1 / math.log2(n + 1) for n in range(1, min(5, len(places)) + 1))
        gains.append(sum(1 / math.log2(place + 1) for place in places if place <= 5) / ideal)
    if queries:
        assert found["recall_at_1"] == pytest.approx(np.mean(first))
        assert found["map"] == pytest.approx(np.mean(precisions))
        assert found["ndcg_at_5"] == pytest.approx(np.mean(gains))
    else:
        assert found["recall_at_1"] is found["map"] is found["ndcg_at_5"] is None

    counted = [pair for pair in PAIRS if pair not in ignored]
    area, best, reached, before = 0.0, 0.0, 0.0, 0.0
    for threshold in sorted({scores[pair] for pair in counted}, reverse=True):
        taken = [pair for pair in counted if scores[pair] >= threshold]
        hits = sum(pair in matches for pair in taken)
        precision, recall = hits / len(taken), hits / max(len(matches), 1)
        area += (recall - before) * precision
        before = recall
        best = max(best, 2 * hits / (len(taken) + len(matches)) if hits else 0.0)
        reached = max(reached, recall) if precision >= 0.9 else reached
    assert found["micro_ap"] == pytest.approx(area)
    assert found["best_f1"] == pytest.approx(best)
    assert found["recall_at_p90"] == pytest.approx(reached)

    taken = [pair for pair in counted if scores[pair] >= level / 4]
    hits = sum(pair in matches for pair in taken)
    (right_no, wrong), (missed, right) = found["confusion"]
    assert (right, wrong, missed) == (hits, len(taken) - hits, len(matches) - hits)
    assert right_no + wrong + missed + right == len(counted)
    assert found["precision"] == pytest.approx(hits / max(len(taken), 1))
    assert found["f1"] == pytest.approx(2 * hits / max(len(taken) + len(matches), 1))


def test_blocks_do_not_show(monkeypatch):
    """However many rows are scored at a time, and with more false pairs than are kept."""
    generator = np.random.default_rng(2)
    rows = generator.normal(size=(260, 16))
    rows[1::2] += rows[::2]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    truth = Truth.of_groups([str(number // 2) for number in range(260)])
    whole = judge(Cosines(rows), truth=truth)
    monkeypatch.setattr(metrics, "_BLOCK_SCORES", 3000)
    parts = judge(Cosines(rows), truth=truth)
    assert figures(whole, threshold=0.5) == figures(parts, threshold=0.5)
    assert (whole.false_counts == parts.false_counts).all()
    assert (whole.false_scores == parts.false_scores).all()
    assert len(whole.false_scores) == 20_000 < whole.false_counts.sum()
    every = (rows @ rows.T)[np.triu_indices(260, k=1)]
    mine = ~truth.are_matches(*np.triu_indices(260, k=1))
    highest = np.sort(np.rint(every[mine] * 1e6))[::-1][:20_000]
    assert (whole.false_scores == highest).all()


def test_scikit_learn_agrees():
    generator = np.random.default_rng(3)
    rows = generator.normal(size=(60, 6))
    rows[1::2] += 0.8 * rows[::2]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = figures(judge(Cosines(rows), truth=Truth.of_groups([str(n // 2) for n in range(60)])))

    scores = (rows @ rows.T).round(6)
    same = np.equal.outer(np.arange(60) // 2, np.arange(60) // 2)
    upper = np.triu_indices(60, k=1)
    assert found["micro_ap"] == pytest.approx(average_precision_score(same[upper], scores[upper]))
    others = ~np.eye(60, dtype=bool)
    each = [(same[query][others[query]], scores[query][others[query]]) for query in range(60)]
    assert found["map"] == pytest.approx(np.mean([average_precision_score(*one) for one in each]))
    assert found["ndcg_at_5"] == pytest.approx(
        np.mean([ndcg_score([one[0]], [one[1]], k=5) for one in each])
    )


def test_an_image_alone_in_its_group_is_a_candidate_but_no_query():
    truth = Truth.of_groups(["a", "b", "a", "", "c", ""])
    assert truth.queries.tolist() == [0, 2]
    assert truth.matches.tolist() == [[0, 2]]
    assert (truth.groups[[3, 5]] == -1).all()
    assert truth.groups[0] == truth.groups[2]
    scores = np.zeros((6, 6))
    scores[0, 4] = scores[4, 0] = 0.9
    scores[0, 2] = scores[2, 0] = 0.5
    judgement = judge(Matrix(scores), truth=truth)
    assert judgement.first_rank.tolist() == [2, 1]
    assert judgement.candidates[0, :2].tolist() == [4, 2]


def test_without_a_group_there_are_no_figures_of_queries():
    found = figures(judge(Matrix(np.eye(3)), truth=Truth.of_groups(["", "a", "b"])), threshold=0.5)
    assert found["recall_at_1"] is None
    assert (found["queries"], found["pairs"], found["f1"], found["micro_ap"]) == (0, 0, 0, 0)


def test_a_query_is_turned_and_the_gallery_is_not():
    """Image 1 is image 0 on its side: what searches find, in the direction in which they look."""
    ways = orientations(mirrored=False, rotated=True)
    pixels = np.zeros((3, 4, 4), dtype=np.float32)
    pixels[0, 0, :2] = 1
    pixels[1] = ways[1].apply(pixels[0])
    pixels[2, 2:, 2] = 1
    views = np.stack([[way.apply(one).ravel() for one in pixels] for way in ways])
    views /= np.linalg.norm(views, axis=2, keepdims=True)
    truth = Truth.of_groups(["a", "a", "b"])

    upright = judge(Cosines(views[0]), truth=truth)
    turned = judge(Cosines(views[0], views=views), truth=truth)

    assert upright.true_scores.tolist() == [0]
    assert turned.true_scores.tolist() == [1_000_000]
    assert turned.found_first.tolist() == [1, 1]


def test_the_threshold_lies_between_what_it_parts():
    scores = np.eye(4)
    for (a, b), value in {(0, 1): 0.9, (2, 3): 0.8, (0, 2): 0.5, (1, 3): 0.1}.items():
        scores[a, b] = scores[b, a] = value
    assert threshold_of(judge(Matrix(scores), truth=Truth.of_groups(list("aabb")))) == (
        pytest.approx(0.65)
    )
    # The other true pair is given up where it would bring three false ones along.
    scores[2, 3] = scores[3, 2] = 0.3
    scores[0, 3] = scores[3, 0] = scores[1, 2] = scores[2, 1] = 0.4
    assert threshold_of(judge(Matrix(scores), truth=Truth.of_groups(list("aabb")))) == (
        pytest.approx(0.7)
    )


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        (np.full((2, 2), np.nan), "not a finite number"),
        (np.full((2, 2), 3.0), "between -1 and 1"),
        (np.eye(3), "3 images to judge, but the truth has 2"),
    ],
)
def test_scores_that_are_none_are_refused(scores, reason):
    with pytest.raises(ValueError, match=reason):
        judge(Matrix(scores), truth=Truth.of_groups(["a", "a"]))
