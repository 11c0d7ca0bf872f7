"""How jobs come in, over gRPC and from the clients' queue."""

from __future__ import annotations

import pytest

from halftone.core import errors, training
from halftone.services.trainer.jobs.intake import Message
from halftone.services.trainer.jobs.job import State
from tests.support.trainer.trainer_desk import spec


def test_the_queue_is_bounded(desk):
    desk.intake._settings = desk.settings.model_copy(update={"max_queued_jobs": 2})
    desk.submit(job_id="a")
    desk.submit(job_id="b")
    assert desk.submit(job_id="a").id == "a"
    with pytest.raises(errors.ResourceExhausted) as caught:
        desk.submit(job_id="c")
    assert caught.value.retry_after
    assert desk.queue.length() == 2


@pytest.mark.parametrize("request_id", ["../up", "a/b", "", "x" * 64])
def test_a_request_id_that_is_no_name(desk, request_id):
    message = Message(task_id="t/1", arguments={"spec": spec(), "request_id": request_id})
    refused = desk.intake.receive(message)
    assert refused.state is State.FAILED
    assert refused.error.field == "request_id"
    assert desk.intake.receive(message) == refused
    assert training.job_id(training.job_name(refused.id)) == refused.id


def test_a_message_without_a_request_id_is_one_job_however_often_it_comes(desk):
    jobs = [desk.intake.receive(Message(task_id="t1", arguments={"spec": spec()})) for _ in "ab"]
    assert jobs[0] == jobs[1]
    assert jobs[0].id == "t1"
