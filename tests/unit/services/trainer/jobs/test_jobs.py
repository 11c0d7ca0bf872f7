"""Jobs in a real Valkey: what is kept, who may write, who runs, what is taken up again."""

from __future__ import annotations

import shutil
import threading
import time

import pytest
from celery import exceptions

from halftone.core import errors, telemetry, training
from halftone.core.settings import TrainerSettings
from halftone.services.trainer.jobs.intake import Intake
from halftone.services.trainer.jobs.job import Progress, State, TrainingJob
from halftone.services.trainer.jobs.queue import JobQueue, Message, make_app
from halftone.services.trainer.jobs.reaper import Reaper
from halftone.services.trainer.jobs.store import FencedError, JobStore
from halftone.services.trainer.worker import tasks
from halftone.services.trainer.worker.__main__ import held_device
from halftone.services.trainer.worker.metrics import WorkerMetrics
from halftone.services.trainer.worker.runner import Runner
from tests.support.valkey import ValkeyProcess, make_directory


@pytest.fixture(scope="module")
def valkey():
    directory = make_directory()
    with ValkeyProcess(directory) as running:
        yield running
    shutil.rmtree(directory)


class Desk:
    """Everything that a worker and the service have, in this process."""

    def __init__(self, folder, *, url):
        (folder / "sets" / "small").mkdir(parents=True)
        self.settings = TrainerSettings(
            broker=url,
            data_roots=(folder / "sets",),
            work_directory=folder / "work",
            # A worker that does not come to run for half of it lets go of its job.
            lease_seconds=120,
            max_crashes=2,
            min_free_bytes=0,
        )
        self.store = JobStore.of(self.settings)
        self.app = make_app(url)
        self.queue = JobQueue(self.app, store=self.store)
        self.intake = Intake(
            store=self.store, queue=self.queue, settings=self.settings, models=folder / "models"
        )
        self.now = 0.0
        self.reaper = Reaper(
            store=self.store,
            queue=self.queue,
            intake=self.intake,
            settings=self.settings,
            directory=folder / "work",
            clock=lambda: self.now,
        )

    def runner(self, promote=None, **changes):
        return Runner(
            store=self.store,
            queue=self.queue,
            intake=self.intake,
            settings=self.settings.model_copy(update=changes),
            models=self.settings.work_directory.parent / "models",
            holder="here",
            metrics=WorkerMetrics.of(telemetry.Metrics(service="trainer")),
            promote=promote,
            module="tests.support.fake_training",
        )

    def submit(self, name="plain", *, job_id="", **fields):
        return self.intake.submit(training.parse_spec(spec(name, **fields)), request_id=job_id)


@pytest.fixture
def desk(valkey, tmp_path):
    valkey.clear()
    made = Desk(tmp_path, url=valkey.url)
    yield made
    made.app.close()
    made.store.close()


def spec(name="plain", **fields):
    return {
        "objective": "metric",
        "datasets": ["small"],
        "model_name": name,
        "steps": 12,
        **fields,
    }


# ---- the store


def test_a_job_is_kept_once_and_comes_back_whole(desk):
    job = TrainingJob.new("a", spec=spec()).having(
        progress=Progress(phase="training", loss=0.5, metrics={"recall_at_1": 0.25}),
        log_tail=("[1914] ümlaut",),
    )
    kept, created = desk.store.create(job)
    assert created
    assert desk.store.get("a") == kept == job.having(revision=1)
    again, created = desk.store.create(TrainingJob.new("a", spec=spec(steps=5)))
    assert (again, created) == (kept, False)
    with pytest.raises(errors.NotFound):
        desk.store.get("b")


def test_changes_at_the_same_time_are_all_made(desk):
    desk.store.create(TrainingJob.new("a", spec=spec()))

    def count():
        for _ in range(25):
            desk.store.update("a", lambda job: job.having(attempts=job.attempts + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    job = desk.store.get("a")
    assert (job.attempts, job.revision) == (100, 101)


def run_out(desk):
    """Lets the lease on job `a` run out now."""
    key = "halftone:training:lease:a"
    assert 0 < desk.store.client.pttl(key) <= 60_000
    desk.store.client.pexpire(key, 1)
    until(lambda: not desk.store.client.exists(key))


def test_a_lease_has_one_holder_and_the_newest_may_write(desk):
    desk.store.create(TrainingJob.new("a", spec=spec()))
    first = desk.store.acquire("a", holder="first", seconds=60)
    assert desk.store.acquire("a", holder="second", seconds=10) is None
    # Sent again because the answer was lost.
    assert desk.store.acquire("a", holder="first", seconds=60).fence == first.fence
    run_out(desk)
    # It ran out, and nobody had it since: a broker that was away for a while does no harm.
    assert desk.store.renew(first, seconds=60) is State.QUEUED
    run_out(desk)
    second = desk.store.acquire("a", holder="second", seconds=10)
    assert second.fence > first.fence
    assert desk.store.renew(first, seconds=10) is None
    with pytest.raises(FencedError):
        desk.store.update("a", lambda job: job.having(attempts=9), lease=first)
    assert desk.store.get("a").attempts == 0
    desk.store.release(first)
    assert desk.store.holder("a") == "second"
    desk.store.update("a", lambda job: job.over(State.SUCCEEDED), lease=second)
    desk.store.release(second)
    assert desk.store.acquire("a", holder="third", seconds=10) is None


def test_jobs_are_listed_page_by_page_the_newest_first(desk):
    for number in range(7):
        job = TrainingJob.new(f"j{number}", spec=spec()).having(create_time=1000.0 + number)
        desk.store.create(job.over(State.FAILED) if number % 2 else job)
    seen, before = [], ""
    while True:
        page, before = desk.store.list(limit=3, before=before)
        seen.append([job.id for job in page])
        if not before:
            break
    assert seen == [["j6", "j5", "j4"], ["j3", "j2", "j1"], ["j0"]]
    failed, more = desk.store.list(states={State.FAILED}, limit=2)
    assert [job.id for job in failed] == ["j5", "j3"]
    rest, more = desk.store.list(states={State.FAILED}, limit=2, before=more)
    assert ([job.id for job in rest], more) == (["j1"], "")
    counts = desk.store.counts()
    assert (counts[State.QUEUED], counts[State.FAILED], counts[State.RUNNING]) == (4, 3, 0)
    assert {job.id for job in desk.store.active()} == {"j0", "j2", "j4", "j6"}


def test_a_broker_that_is_away_is_said_so(desk, valkey):
    valkey.kill()
    try:
        with pytest.raises(errors.Unavailable) as caught:
            desk.store.get("a")
        assert caught.value.reason == "BROKER_UNAVAILABLE"
        with pytest.raises(errors.Unavailable):
            desk.queue.send(TrainingJob.new("a", spec=spec()))
    finally:
        valkey.start()


# ---- taking in


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


def test_half_a_character_is_refused_and_stops_nobody(desk):
    """JSON can escape what no text can hold; the jobs behind it are looked after all the same."""
    wrong = {"spec": spec(model_name="\ud800"), "request_id": "a"}
    desk.app.send_task(training.TASK, kwargs=wrong, task_id="t1", queue=training.QUEUE)
    right = {"spec": spec(), "request_id": "b"}
    desk.app.send_task(training.TASK, kwargs=right, queue=training.QUEUE)
    desk.reaper.go_round()
    assert desk.store.get("b").state is State.QUEUED
    refused = desk.intake.receive(Message(task_id="t1", arguments=wrong))
    assert (refused.state, refused.error.field) == (State.FAILED, "spec")


def test_a_message_that_comes_while_the_broker_goes_is_not_lost(desk, valkey):
    runner = desk.runner()
    tasks.register(desk.app, intake=desk.intake, runner=runner)
    task = desk.app.tasks[training.TASK]
    arguments = {"spec": spec(), "request_id": "a"}
    valkey.kill()
    try:
        thread = threading.Thread(target=task.apply, kwargs={"kwargs": arguments})
        thread.start()
        thread.join(1)
        assert thread.is_alive()
    finally:
        valkey.start()
    thread.join(60)
    assert desk.store.get("a").state is State.SUCCEEDED
    # A worker that ends cannot wait; the queue has the message again.
    runner.stopping = True
    valkey.kill()
    try:
        with pytest.raises(exceptions.Reject) as caught:
            task.run(spec=spec(), request_id="b")
        assert caught.value.requeue
    finally:
        valkey.start()


def test_jobs_put_on_the_queue_are_seen_before_a_worker_takes_them(desk):
    desk.app.send_task(
        training.TASK, kwargs={"spec": spec(), "request_id": "direct"}, queue=training.QUEUE
    )
    desk.reaper.go_round()
    assert desk.store.get("direct").state is State.QUEUED


def test_a_message_whose_worker_was_killed_before_it_told_of_it(desk):
    desk.app.send_task(
        training.TASK, kwargs={"spec": spec(), "request_id": "taken"}, queue=training.QUEUE
    )
    with desk.app.connection_for_read() as connection, connection.SimpleQueue(training.QUEUE) as it:
        it.get(timeout=60)  # and not acknowledged
        assert desk.queue.length() == 0
        desk.reaper.go_round()
        assert desk.store.get("taken").state is State.QUEUED
        desk.now += 20
        desk.reaper.go_round()
        assert desk.queue.length() == 1


# ---- looking after


def test_a_job_whose_worker_is_gone_is_queued_again_and_fails_in_the_end(desk):
    desk.submit(job_id="a")
    for attempt in (1, 2):
        lease = desk.store.acquire("a", holder=f"w{attempt}", seconds=60)
        desk.store.update(
            "a", lambda job: job.having(state=State.RUNNING, attempts=job.attempts + 1), lease=lease
        )
        desk.reaper.go_round()
        assert desk.store.get("a").state is State.RUNNING
        run_out(desk)
        before = desk.queue.length()
        desk.reaper.go_round()
        job = desk.store.get("a")
        assert job.crashes == attempt
        assert job.state is (State.QUEUED if attempt == 1 else State.FAILED)
        assert desk.queue.length() == before + (attempt == 1)
    assert job.error.reason == "TRAINING_KILLED"


def test_a_job_that_was_cancelled_when_its_worker_died_is_cancelled(desk):
    desk.submit(job_id="a")
    lease = desk.store.acquire("a", holder="w", seconds=60)
    desk.store.update("a", lambda job: job.having(state=State.CANCELLING), lease=lease)
    run = desk.settings.work_directory / "a" / "run"
    run.mkdir(parents=True)
    run_out(desk)
    desk.reaper.go_round()
    assert desk.store.get("a").state is State.CANCELLED
    assert not run.exists()


def test_a_message_that_got_lost_is_sent_again_after_a_while(desk):
    desk.submit(job_id="a")
    desk.store.client.delete(training.QUEUE)
    desk.reaper.go_round()
    assert desk.queue.length() == 0
    desk.now += 20
    desk.reaper.go_round()
    assert [message.task_id for message in desk.queue.waiting()[0]] == ["a"]
    desk.now += 100
    desk.reaper.go_round()
    assert desk.queue.length() == 1


def test_a_queue_that_is_longer_than_what_is_looked_at_is_not_made_longer(desk):
    for name in "abc":
        desk.submit(job_id=name)
    assert [message.task_id for message in desk.queue.waiting(limit=2)[0]] == ["a", "b"]
    assert [desk.queue.waiting(limit=limit)[1] for limit in (2, 3, 4)] == [False, False, True]


def test_old_jobs_are_forgotten_with_their_files(desk):
    old = time.time() - 100 * 24 * 3600
    for name, end in (("old", old), ("new", time.time())):
        job = TrainingJob.new(name, spec=spec()).having(create_time=old).over(State.FAILED)
        desk.store.create(job.having(end_time=end))
        (desk.settings.work_directory / name).mkdir(parents=True)
    desk.reaper.go_round()
    assert [job.id for job in desk.store.list(limit=9)[0]] == ["new"]
    assert not (desk.settings.work_directory / "old").exists()
    assert (desk.settings.work_directory / "new").exists()
    assert desk.store.counts()[State.FAILED] == 1


def test_leases_of_one_device_are_broken_and_no_others(desk):
    for name, holder in (("a", "here/1"), ("b", "there/1")):
        desk.submit(job_id=name)
        desk.store.acquire(name, holder=holder, seconds=60)
    assert desk.store.break_leases(prefix="here/") == ("a",)
    assert desk.store.holder("b") == "there/1"


# ---- running


def test_a_run_tells_how_it_goes(desk):
    desk.submit(job_id="a", options={"batch": 8})
    desk.runner().run("a")
    job = desk.store.get("a")
    assert (job.state, job.model_version, job.attempts) == (State.SUCCEEDED, "plain/1", 1)
    assert (job.progress.step, job.progress.fraction) == (12, 1.0)
    assert job.log_tail[-1] == "step 12"
    message = job.to_message()
    assert message.spec.options["batch"] == "8"
    assert message.end_time.ToSeconds() >= message.start_time.ToSeconds() > 0
    assert desk.store.holder("a") is None
    # Its message comes again.
    desk.runner().run("a")
    assert desk.store.get("a") == job


@pytest.mark.parametrize(
    ("name", "reason", "attempts"),
    [
        ("crash", "TRAINING_CRASHED", 1),
        ("silent", "TRAINING_CRASHED", 1),
        ("refuses", "TOO_LITTLE", 1),
        ("killed", "TRAINING_KILLED", 2),
    ],
)
def test_how_a_run_fails(desk, name, reason, attempts):
    desk.submit(name, job_id="a")
    desk.runner().run("a")
    job = desk.store.get("a")
    assert (job.state, job.error.reason, job.attempts) == (State.FAILED, reason, attempts)


def test_a_process_that_was_killed_once_goes_on(desk):
    desk.submit("killed-once", job_id="a")
    desk.runner().run("a")
    job = desk.store.get("a")
    assert (job.state, job.attempts) == (State.SUCCEEDED, 2)


def test_a_job_has_a_time_limit(desk):
    desk.submit(job_id="a", steps=100_000)
    desk.runner(max_job_hours=0.5 / 3600).run("a")
    job = desk.store.get("a")
    assert (job.state, job.error.reason) == (State.FAILED, "JOB_TIME_LIMIT")


def test_a_disk_with_too_little_room(desk):
    desk.submit(job_id="a")
    desk.runner(min_free_bytes=2**60).run("a")
    job = desk.store.get("a")
    assert (job.state, job.error.code) == (State.FAILED, "RESOURCE_EXHAUSTED")
    assert isinstance(job.error.to_error(), errors.ResourceExhausted)


def test_a_run_whose_job_was_taken_over_ends_and_writes_nothing(desk):
    desk.submit(job_id="a", steps=100_000)
    runner = desk.runner()
    thread = threading.Thread(target=runner.run, args=("a",))
    thread.start()
    until(lambda: desk.store.get("a").progress.step > 2)
    # As if its lease had run out unnoticed.
    desk.store.client.delete("halftone:training:lease:a")
    lease = desk.store.acquire("a", holder="other", seconds=60)
    taken = desk.store.update("a", lambda job: job.having(attempts=7), lease=lease)
    thread.join(60)
    assert not thread.is_alive()
    assert desk.store.get("a") == taken
    assert desk.store.holder("a") == "other"
    assert runner.metrics.leases_lost._value.get() == 1


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


class Promoter:
    def __init__(self, outcome="is promoted", *, then=lambda: None):
        self.outcome, self.asked, self.then, self.cancelled = outcome, [], then, 0

    def __call__(self, version, is_stopped):
        self.asked.append(version)
        self.then()
        return self.outcome

    def cancel(self):
        self.cancelled += 1


def test_a_version_is_promoted_and_the_outcome_told(desk):
    promote = Promoter("plain/1 is published, and not promoted: worse")
    desk.submit(job_id="a", promote=True)
    desk.runner(promote).run("a")
    job = desk.store.get("a")
    assert promote.asked == ["plain/1"]
    # The job did what it can; that the gate refused is no failure of the training.
    assert job.state is State.SUCCEEDED
    assert job.log_tail[-1].endswith("not promoted: worse")


def test_a_worker_that_ends_during_a_promotion_goes_on_with_it_later(desk):
    runner = desk.runner()

    def end():
        runner.stopping = True

    runner.promote = Promoter(then=end)
    desk.submit(job_id="a", promote=True)
    runner.run("a")
    assert desk.store.get("a").state is State.QUEUED
    promote = Promoter()
    desk.runner(promote).run("a")
    job = desk.store.get("a")
    assert (job.state, job.attempts, promote.asked) == (State.SUCCEEDED, 1, ["plain/1"])


def test_a_job_cancelled_during_its_promotion(desk):
    def cancel():
        desk.store.update("a", lambda job: job.having(state=State.CANCELLING))

    promote = Promoter(then=cancel)
    desk.submit(job_id="a", promote=True)
    desk.runner(promote).run("a")
    job = desk.store.get("a")
    assert (job.state, job.model_version, promote.cancelled) == (State.CANCELLED, "plain/1", 1)


def test_a_job_cancelled_while_its_worker_ends_is_not_promoted_later(desk):
    runner = desk.runner()

    def cancel_and_end():
        desk.store.update("a", lambda job: job.having(state=State.CANCELLING))
        runner.stopping = True

    runner.promote = Promoter(then=cancel_and_end)
    desk.submit(job_id="a", promote=True)
    waiting = desk.queue.length()
    runner.run("a")
    assert desk.store.get("a").state is State.CANCELLED
    assert (runner.promote.cancelled, desk.queue.length()) == (1, waiting)


def test_a_job_that_was_put_back_while_it_ran_is_promoted_all_the_same(desk):
    """Its lease ran out unnoticed, and nobody else took it."""
    promote = Promoter()
    desk.submit(job_id="a", steps=100, promote=True)
    thread = threading.Thread(target=desk.runner(promote).run, args=("a",))
    thread.start()
    until(lambda: desk.store.get("a").progress.step > 2)
    desk.store.client.delete("halftone:training:lease:a")
    desk.store.update("a", lambda job: job.having(state=State.QUEUED))
    thread.join(60)
    assert (desk.store.get("a").state, promote.asked) == (State.SUCCEEDED, ["plain/1"])


def test_checkpoints_of_a_cancelled_job_are_removed_when_its_message_comes(desk):
    desk.submit(job_id="a")
    run = desk.settings.work_directory / "a" / "run"
    run.mkdir(parents=True)
    desk.store.update("a", lambda job: job.over(State.CANCELLED))
    desk.runner().run("a")
    assert not run.exists()


def test_no_job_can_have_the_directory_of_something_else(tmp_path):
    with held_device(tmp_path, device="cpu"):
        for entry in tmp_path.iterdir():
            with pytest.raises(errors.InvalidArgument):
                training.check_request_id(entry.name)


# ---- the device


def test_a_device_has_one_worker_and_keeps_its_name(tmp_path):
    with held_device(tmp_path, device="cuda:1") as first:
        with (
            pytest.raises(errors.FailedPrecondition) as caught,
            held_device(tmp_path, device="cuda:1", patience=0.1),
        ):
            pass
        assert caught.value.reason == "DEVICE_IN_USE"
        with held_device(tmp_path, device="cpu") as other:
            assert other.holder != first.holder
    with held_device(tmp_path, device="cuda:1") as again:
        assert again.holder == first.holder
