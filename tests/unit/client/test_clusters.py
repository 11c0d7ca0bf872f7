"""Both clients' calls about clusters and verdicts, against a real gRPC server."""

from __future__ import annotations

import datetime as dt

import pytest

from halftone.client import (
    ClusterJobState,
    ClusterOrder,
    Decision,
    Filter,
    JudgingReason,
    Relation,
    VerificationState,
)
from halftone.client.conversions import parse_relation
from halftone.client.verdicts import parse_verdict
from halftone.core import errors
from halftone.v1 import clusters_pb2 as pb
from tests.support.client.fake_clusters import FakeClusters


@pytest.fixture
def fake():
    with FakeClusters() as server:
        yield server


def test_a_cluster_is_typed_and_chronological(fake, client):
    names = fake.story()
    found = client.cluster(names[2])
    assert found.name == "clusters/album"
    assert [member.image.name for member in found.members] == names[:5]
    assert (found.size, found.journal_count, found.span_years) == (5, 3, 11)
    assert found.journals == ("The Sphere", "L'Illustration", "Die Woche")
    assert found.earliest_date == dt.date(1898, 5, 1)
    assert [member.gap_days for member in found.members][:2] == [None, 80]
    assert found.members[4].gap_days is None
    first = found.links[0]
    assert (first.a, first.b) == (names[0], names[1])
    assert first.relation is Relation.MIRRORED
    assert first.verification.state is VerificationState.OVERLAPPING
    assert first.verification.overlaps[0].homography[0] == -1
    assert first.verdict is None


def test_options_of_a_list_travel(fake, client):
    client.cluster_page(
        filter=Filter(journals=["J"]),
        order=ClusterOrder.SPAN_YEARS,
        min_size=2,
        min_journals=3,
        min_span_years=4,
        page_size=5,
        page_token="6",  # noqa: S106  # no password
    )
    sent = fake.requests[-1]
    assert list(sent.filter.journals) == ["J"]
    assert sent.order == pb.ListClustersRequest.SPAN_YEARS
    assert (sent.min_size, sent.min_journal_count, sent.min_span_years) == (2, 3, 4)
    assert (sent.page_size, sent.page_token) == (5, "6")


def test_pages_are_followed(fake, client):
    fake.story()
    page = client.cluster_page(page_size=1)
    assert (len(page), page.total) == (1, 2)
    assert [found.size for found in client.clusters(page_size=1)] == [5, 2]


def test_a_job_is_watched_to_its_end(fake, client):
    fake.job_polls = 3
    job = client.build_clusters()
    assert client.build_clusters().name == job.name
    seen = list(client.watch_cluster_job(job.name, every=0.01))
    assert [each.searched_count for each in seen] == [4, 7, 7]
    assert seen[-1].state is ClusterJobState.SUCCEEDED
    assert next(client.cluster_jobs()).cluster_count == 2
    with pytest.raises(errors.FailedPrecondition):
        client.cancel_cluster_job(job.name)


def test_verdicts_are_kept_listed_and_taken_back(fake, client):
    a, b, c, *_ = fake.story()
    client.judge(b, a, "same", note="the same crack", author="eva")
    client.judge(a, c, Decision.UNSURE)
    last = client.judge(a, b, Decision.DIFFERENT)
    assert (last.a, last.b) == (b, a)
    held = list(client.verdicts(page_size=1))
    assert [verdict.decision for verdict in held] == [Decision.DIFFERENT, Decision.UNSURE]
    assert len(list(client.verdicts(image=b, history=True))) == 2
    page = client.verdict_page(image=a, page_size=1)
    assert [verdict.decision for verdict in page] == [Decision.DIFFERENT]
    page = client.verdict_page(image=a, page_size=1, page_token=page.next_page_token)
    assert ([verdict.decision for verdict in page], page.next_page_token) == (
        [Decision.UNSURE],
        "",
    )
    assert client.delete_verdict(last.name).end_time is not None
    assert [verdict.decision for verdict in client.verdicts()] == [Decision.UNSURE]


def test_a_verdict_says_which_others_it_overrules(fake, client):
    a, b, c, *_ = fake.story()
    first, second = client.judge(a, b, "same", note="one plate"), client.judge(b, c, "same")
    assert first.overruled_verdicts == ()
    fake.contradicted = [fake.verdicts[0]]
    (lost,) = client.judge(a, c, "different").overruled_verdicts
    assert (lost.name, lost.note, lost.overruled) == (first.name, "one plate", True)
    assert (first.label, lost.label) == ("same", "same (overruled)")
    fake.contradicted = [fake.verdicts[2]]
    assert client.delete_verdict(second.name).overruled_verdicts[0].decision is Decision.DIFFERENT


def test_hits_tell_the_verdict_on_them(fake, client):
    a, b, c, *_ = fake.story()
    said = client.judge(b, a, "different", author="Eva")
    verdicts = {hit.image.name: hit.verdict for hit in client.search(a, limit=50)}
    assert (verdicts[b], verdicts[c]) == (said, None)
    assert not any(hit.verdict for hit in client.search(b"a picture"))
    assert client.compare(a, b).hit.verdict == said
    assert client.compare(a, c).hit.verdict is None
    assert not client.search(a).verdicts_unavailable
    fake.verdicts_unavailable = True
    assert client.search(a).verdicts_unavailable
    assert client.compare(a, b).verdicts_unavailable


def test_what_a_newer_service_says_breaks_nothing():
    assert parse_relation(99) is Relation.UNKNOWN
    assert parse_verdict(pb.Verdict(decision=77)).decision is Decision.UNSURE


def test_pairs_to_judge_by_page(fake, client):
    fake.story()
    page = client.pairs_to_judge(page_size=2, reasons=[JudgingReason.WEAKEST_LINK])
    assert len(page) == 2
    assert page.total == page.remaining > 2
    first, second = page
    assert first.priority >= second.priority
    assert first.reason is JudgingReason.WEAKEST_LINK
    assert first.a_cluster.startswith("clusters/")
    following = client.pairs_to_judge(page_size=2, page_token=page.next_page_token)
    assert following.remaining == page.total - 2
    client.judge(first.a.name, first.b.name, "same")
    assert client.pairs_to_judge().total == page.total - 1
    request = next(each for each in fake.requests if hasattr(each, "reasons"))
    assert list(request.reasons) == [pb.PairToJudge.WEAKEST_LINK]


def test_clusters_by_their_weakest_link(fake, client):
    fake.story()
    client.cluster_page(
        order=ClusterOrder.WEAKEST_LINK,
        max_weakest_link=0.5,
        only_unjudged=True,
        unjudged_first=True,
    )
    request = fake.requests[-1]
    assert request.order == request.WEAKEST_LINK
    assert request.max_weakest_link == 0.5
    assert request.only_unjudged
    assert request.unjudged_first
