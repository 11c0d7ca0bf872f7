"""TrainerService over the store in a real Valkey: pages, and cancellation."""

from __future__ import annotations

import base64

import pytest

from halftone.core import errors
from halftone.services.trainer.jobs.changes import Changes
from halftone.services.trainer.jobs.job import State, TrainingJob
from halftone.services.trainer.servicer import TrainerServicer
from halftone.v1 import trainer_pb2 as pb
from tests.support.trainer.trainer_desk import spec


@pytest.fixture
def servicer(desk):
    return TrainerServicer(store=desk.store, intake=desk.intake, changes=Changes(desk.store))


@pytest.fixture
def jobs(desk):
    for number in range(7):
        job = TrainingJob.new(f"j{number}", spec=spec()).having(create_time=1000.0 + number)
        desk.store.create(job.over(State.FAILED) if number % 2 else job)


async def test_pages_hold_each_job_once(servicer, jobs):
    request = pb.ListTrainingJobsRequest(page_size=3)
    seen = []
    while True:
        answer = await servicer.ListTrainingJobs(request, None)
        seen.append([job.name.rpartition("/")[2] for job in answer.jobs])
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    assert seen == [["j6", "j5", "j4"], ["j3", "j2", "j1"], ["j0"]]


async def test_a_token_continues_its_own_request_only(servicer, jobs):
    first = await servicer.ListTrainingJobs(
        pb.ListTrainingJobsRequest(page_size=2, states=[pb.TrainingJob.FAILED]), None
    )
    assert [job.name for job in first.jobs] == ["trainingJobs/j5", "trainingJobs/j3"]
    with pytest.raises(errors.InvalidArgument) as caught:
        await servicer.ListTrainingJobs(
            pb.ListTrainingJobsRequest(page_token=first.next_page_token), None
        )
    assert caught.value.field == "page_token"
    for token in ("nonsense", base64.urlsafe_b64encode(b"1000-j1").decode()):
        with pytest.raises(errors.InvalidArgument) as caught:
            await servicer.ListTrainingJobs(pb.ListTrainingJobsRequest(page_token=token), None)
        assert caught.value.field == "page_token"


@pytest.mark.parametrize("size", [0, -1, 1001])
async def test_the_size_of_a_page_is_bounded(servicer, jobs, size):
    with pytest.raises(errors.InvalidArgument) as caught:
        await servicer.ListTrainingJobs(pb.ListTrainingJobsRequest(page_size=size), None)
    assert caught.value.field == "page_size"


async def test_cancelling(servicer, desk):
    desk.submit(job_id="a")
    desk.submit(job_id="b")
    lease = desk.store.acquire("b", holder="w", seconds=60)
    desk.store.update("b", lambda job: job.having(state=State.RUNNING), lease=lease)

    async def cancel(name):
        request = pb.CancelTrainingJobRequest(name=f"trainingJobs/{name}")
        return (await servicer.CancelTrainingJob(request, None)).state

    assert await cancel("a") == pb.TrainingJob.CANCELLED
    with pytest.raises(errors.FailedPrecondition) as caught:
        await cancel("a")
    assert (caught.value.reason, caught.value.subject) == ("JOB_OVER", "trainingJobs/a")
    assert await cancel("b") == pb.TrainingJob.CANCELLING
    revision = desk.store.get("b").revision
    assert await cancel("b") == pb.TrainingJob.CANCELLING
    assert desk.store.get("b").revision == revision
    with pytest.raises(errors.NotFound):
        await cancel("c")
