"""The reprint protocol, against small cases worked out by hand and against scikit-learn."""

import json

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_curve,
    precision_score,
)

from halftone.evaluation.evaluate import (
    Truth,
    average_precision,
    best_f1,
    choose_threshold,
    evaluate,
    evaluate_classification,
    evaluate_copies,
    evaluate_groups,
    evaluate_scores,
    precision_recall,
    read_truth,
    recall_at_precision,
)
from halftone.evaluation.metrics import Matrix, judge


def truth_of(pairs, *, count, ignored=()) -> Truth:
    groups = np.full(count, -1)
    for number, pair in enumerate(pairs):
        groups[list(pair)] = number
    return Truth(
        count=count,
        matches=np.array(pairs, dtype=np.int64).reshape(-1, 2),
        ignored=np.array(ignored, dtype=np.int64).reshape(-1, 2),
        groups=groups,
    )


def symmetric(values, *, count) -> np.ndarray:
    scores = np.zeros((count, count))
    for (a, b), value in values.items():
        scores[a, b] = scores[b, a] = value
    return scores


def test_ranks_and_pairs_worked_out_by_hand():
    truth = truth_of([(0, 1), (2, 3)], count=5)
    scores = symmetric({(0, 1): 0.9, (2, 3): 0.5, (2, 4): 0.7, (0, 4): 0.6}, count=5)

    result = evaluate_scores(scores, truth=truth, resamples=0)

    # Query 2 finds picture 4 first, its match second; the other three find theirs first.
    assert result["recall_at_1"] == pytest.approx(3 / 4)
    assert result["map"] == pytest.approx((1 + 1 + 1 / 2 + 1) / 4)
    # Pairs by score: match .9, no .7, no .6, match .5.
    assert result["micro_ap"] == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 4)
    assert result["best_f1"] == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert result["best_f1_threshold"] == pytest.approx(0.9)
    assert result["recall_at_p90"] == pytest.approx(0.5)
    assert (result["queries"], result["pairs"]) == (4, 2)


def test_copies_within_a_publication_neither_help_nor_harm():
    scores = symmetric({(0, 1): 0.5, (0, 2): 0.9}, count=4)
    counted = truth_of([(0, 1)], count=4)
    left_out = truth_of([(0, 1)], count=4, ignored=[(0, 2)])

    assert evaluate_scores(scores, truth=counted, resamples=0)["recall_at_1"] == 0.5
    assert evaluate_scores(scores, truth=left_out, resamples=0)["recall_at_1"] == 1.0
    assert evaluate_scores(scores, truth=left_out, resamples=0)["micro_ap"] == 1.0


def test_a_constant_descriptor_scores_nothing():
    truth = truth_of([(0, 1), (2, 3)], count=30)

    result = evaluate(np.ones((30, 4)) / 2, truth=truth, resamples=0)

    assert result["recall_at_1"] == 0
    assert result["map"] < 0.05
    assert result["micro_ap"] < 0.01
    assert result["recall_at_p90"] == 0


def test_perfect_descriptors_score_one():
    truth = truth_of([(0, 1), (2, 3)], count=4)
    descriptors = np.eye(2)[[0, 0, 1, 1]]

    result = evaluate(descriptors, truth=truth, resamples=50)

    for name in ("recall_at_1", "map", "micro_ap", "best_f1", "recall_at_p90"):
        assert result[name] == 1.0
    assert result["intervals"]["micro_ap"] == [1.0, 1.0]


@pytest.mark.parametrize("digits", [1, 6])
def test_average_precision_agrees_with_scikit_learn(digits):
    """Rounded to one digit the scores are full of ties."""
    generator = np.random.default_rng(0)
    positive = generator.random(400) < 0.1
    scores = (generator.normal(size=400) + positive).round(digits)

    curve = precision_recall(scores, positive=positive)

    expected = average_precision_score(positive, scores)
    assert average_precision(curve) == pytest.approx(expected)
    precision, recall, _ = precision_recall_curve(positive, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    assert best_f1(curve)[0] == pytest.approx(f1.max())
    expected_recall = recall[precision >= 0.9].max()
    assert recall_at_precision(curve, precision=0.9) == pytest.approx(expected_recall)


def test_ties_are_broken_against_the_match():
    truth = truth_of([(0, 1)], count=3)
    scores = symmetric({(0, 1): 0.5, (0, 2): 0.5, (1, 2): 0.1}, count=3)

    found = judge(Matrix(scores), truth=truth)

    assert found.found_first.tolist() == [0, 1]
    assert found.average_precision.tolist() == [0.5, 1]
    assert found.candidates.tolist() == [[2, 1], [0, 2]]


def test_intervals_hold_the_estimate_and_widen_with_fewer_groups():
    generator = np.random.default_rng(1)
    noise = generator.normal(size=(120, 8))

    def width(groups: int) -> float:
        pairs = [(2 * n, 2 * n + 1) for n in range(groups)]
        descriptors = noise.copy()
        descriptors[1 : 2 * groups : 2] += 1.5 * descriptors[0 : 2 * groups : 2]
        descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
        result = evaluate(descriptors, truth=truth_of(pairs, count=120), resamples=200)
        for name, (low, high) in result["intervals"].items():
            assert low <= result[name] <= high, name
        low, high = result["intervals"]["map"]
        return high - low

    assert width(8) > width(50)


def test_held_out_copies():
    scores = np.array([[0.9, 0.1], [0.8, 0.7]])

    result = evaluate_copies(scores)

    assert result["copy_recall_at_1"] == 0.5
    assert result["copy_micro_ap"] == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)


def write_groups(folder, groups):
    (folder / "groups.json").write_text(json.dumps(groups))


def group(name, members, links, *, composite=False):
    linked = [{"a": a, "b": b} for a, b in links]
    return {"group": name, "members": members, "links": linked, "composite": composite}


JOURNALS = {"a": "J", "b": "K", "c": "L", "d": "J", "e": "M"}


def pairs_of(pairs) -> set[str]:
    names = list(JOURNALS)
    return {names[a] + names[b] for a, b in pairs}


def test_all_members_of_an_ordinary_group_match_across_publications(tmp_path):
    write_groups(tmp_path, [group("g", ["a", "b", "c", "d"], [("a", "b"), ("b", "c"), ("a", "d")])])

    truth = read_truth(tmp_path, image_ids=list(JOURNALS), journals=JOURNALS)

    assert pairs_of(truth.matches) == {"ab", "ac", "bc", "bd", "cd"}
    assert pairs_of(truth.ignored) == {"ad"}
    assert truth.queries.tolist() == [0, 1, 2, 3]
    assert truth.groups.tolist() == [0, 0, 0, 0, -1]


def test_only_links_count_in_a_composite_group(tmp_path):
    links = [("a", "b"), ("d", "b")]
    write_groups(tmp_path, [group("g", ["a", "b", "c", "d"], links, composite=True)])

    truth = read_truth(tmp_path, image_ids=list(JOURNALS), journals=JOURNALS)

    assert pairs_of(truth.matches) == {"ab", "bd"}
    assert pairs_of(truth.ignored) == {"ad"}


def test_a_group_of_unknown_images_is_refused(tmp_path):
    write_groups(tmp_path, [group("g", ["a", "x"], [("a", "x")])])

    with pytest.raises(ValueError, match="g names unknown images: x"):
        read_truth(tmp_path, image_ids=list(JOURNALS), journals=JOURNALS)


def test_labelled_groups_with_a_threshold_of_other_groups():
    generator = np.random.default_rng(4)

    def split(count):
        pictures = np.repeat(generator.normal(size=(count, 32)), 2, axis=0)
        rows = pictures + 0.5 * generator.normal(size=pictures.shape)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    groups = [str(number // 2) for number in range(60)]
    threshold = choose_threshold(split(30), groups=groups)
    found = evaluate_groups(split(30), groups=groups, threshold=threshold, resamples=50)

    assert 0.5 < threshold < 0.8
    assert found["threshold"] == threshold
    assert found["queries"] == 60
    assert found["f1"] > 0.9
    for name in ("f1", "precision", "recall", "ndcg_at_5", "recall_at_p90"):
        low, high = found["intervals"][name]
        assert low <= found[name] <= high
    assert "f1" not in evaluate_groups(split(5), groups=groups[:10], threshold=None, resamples=0)


def test_classification_agrees_with_scikit_learn():
    generator = np.random.default_rng(5)
    labels = generator.integers(0, 4, 80)
    labels[labels == 3] = 0  # a class that does not occur, though it is predicted
    logits = generator.normal(size=(80, 4)) + 2 * np.eye(4)[labels]
    logits[:4, 3] += 20
    predicted = logits.argmax(axis=1)

    found = evaluate_classification(logits, labels=labels, names=list("abcd"), resamples=100)

    assert found["accuracy"] == pytest.approx((predicted == labels).mean())
    present = labels != 3
    assert found["balanced_accuracy"] == pytest.approx(
        np.mean([(predicted == labels)[labels == each].mean() for each in range(3)])
    )
    only = predicted != 3  # scikit-learn warns of predictions outside the truth
    assert evaluate_classification(
        logits[only & present], labels=labels[only & present], names=list("abcd"), resamples=0
    )["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(labels[only & present], predicted[only & present])
    )
    assert found["confusion"] == confusion_matrix(labels, predicted).tolist()
    assert found["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    precisions = precision_score(labels, predicted, average=None)
    assert [row["precision"] for row in found["per_class"]] == pytest.approx(precisions)
    assert found["per_class"][3]["recall"] is None
    worst = found["confused"][0]
    assert worst["images"] == max(
        count
        for row, line in enumerate(found["confusion"])
        for column, count in enumerate(line)
        if row != column
    )
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        low, high = found["intervals"][name]
        assert low < found[name] < high


def test_many_classes_have_no_matrix_but_their_mistakes():
    labels = np.arange(150)
    logits = np.eye(150)
    logits[7] = 0
    logits[7, 9] = 1
    names = [f"class {number}" for number in range(150)]
    found = evaluate_classification(logits, labels=labels, names=names, resamples=0)
    assert "confusion" not in found
    assert found["confused"] == [{"truth": "class 7", "predicted": "class 9", "images": 1}]


@pytest.mark.parametrize(
    ("logits", "labels"), [(np.eye(2), [0]), (np.eye(2), [0, 2]), (np.zeros((0, 2)), [])]
)
def test_labels_that_do_not_fit_are_refused(logits, labels):
    with pytest.raises(ValueError, match=r"logits are|labels are"):
        evaluate_classification(logits, labels=labels, names=["a", "b"])
