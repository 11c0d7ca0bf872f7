"""Both clients' calls about training jobs, against a real gRPC server."""

from __future__ import annotations

import pytest

from halftone.client import JobState, RetryPolicy
from halftone.core import errors
from tests.support.client.fake_trainer import FakeTrainer

SPEC = {"objective": "metric", "datasets": ["a"], "model_name": "x", "steps": 9}
QUICK = RetryPolicy(attempts=4, first_pause=0.01, longest_pause=0.02)


@pytest.fixture
def fake():
    with FakeTrainer() as server:
        yield server


@pytest.fixture
def client(fake, connect):
    return connect(trainer=fake.address, retries=QUICK)


def test_a_job_from_its_start_to_its_end(fake, client):
    job = client.train(SPEC, request_id="r")
    assert (job.name, job.state, job.spec) == ("trainingJobs/r", JobState.QUEUED, SPEC)
    states = [each.state for each in client.watch_training_job(job.name)]
    assert states[-1] is JobState.SUCCEEDED
    assert [each.id for each in client.training_jobs(page_size=1)] == ["r"]
    assert client.training_job(job.name).model_version == "x/1"
    assert client.cancel_training_job(job.name).state is JobState.CANCELLED


def test_watching_goes_on_after_a_lost_connection(fake, client):
    fake.breaks = 2
    job = client.train(SPEC)
    seen = [each.revision for each in client.watch_training_job(job.name)]
    assert seen == [2, 52, 102]
    assert client.retry_count == 2
    fake.breaks = 50
    with pytest.raises(errors.Unavailable):
        list(client.watch_training_job(job.name))
    assert client.retry_count < 8
