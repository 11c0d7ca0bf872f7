"""A small training service for tests: real gRPC, in memory."""

from __future__ import annotations

import threading
from concurrent import futures

import grpc
from grpc_status import rpc_status

from halftone.core import errors
from halftone.v1 import trainer_pb2 as pb
from halftone.v1 import trainer_pb2_grpc


class FakeTrainer(trainer_pb2_grpc.TrainerServiceServicer):
    """Keeps jobs in memory; watching one makes it go from step to step to its end.

    Attributes:
        breaks: How many of the next streams end with an error after their second message.
        pause: Seconds before a stream's second message, at most until `over` is set.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, pb.TrainingJob] = {}
        self.breaks = 0
        self.pause = 0.0
        self.over = threading.Event()
        self.fails = False
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        trainer_pb2_grpc.add_TrainerServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(None).wait()

    def CreateTrainingJob(self, request, context):
        name = f"trainingJobs/{request.request_id}"
        job = self.jobs.setdefault(
            name, pb.TrainingJob(name=name, spec=request.spec, state="QUEUED", revision=1)
        )
        if job.spec != request.spec:
            abort(context, errors.AlreadyExists("Used before."))
        return job

    def GetTrainingJob(self, request, context):
        if request.name not in self.jobs:
            abort(context, errors.NotFound("There is no such training job."))
        return self.jobs[request.name]

    def ListTrainingJobs(self, request, context):
        names = sorted(self.jobs)
        start = names.index(request.page_token) if request.page_token else 0
        page = names[start : start + request.page_size]
        wanted = [
            self.jobs[name]
            for name in page
            if not request.states or self.jobs[name].state in request.states
        ]
        following = names[start + len(page) : start + len(page) + 1]
        return pb.ListTrainingJobsResponse(jobs=wanted, next_page_token="".join(following))

    def WatchTrainingJob(self, request, context):
        job = self.jobs[request.name]
        for number, step in enumerate((0, 50, 100)):
            job.state = "RUNNING" if step < 100 else ("FAILED" if self.fails else "SUCCEEDED")
            job.revision = 2 + step
            job.progress.phase, job.progress.step = "training", step
            job.progress.fraction, job.progress.loss = step / 100, 0.25
            job.progress.seconds_left = 3725
            if step == 100 and self.fails:
                job.error.CopyFrom(errors.to_status(errors.Internal("It broke.", reason="BROKE")))
                job.log_tail.extend(["[a] line"])
            elif step == 100:
                job.model_version = f"{job.spec.model_name}/1"
                job.log_tail.append(f"published {job.model_version} in models")
                job.log_tail.append("No step was better.")
            yield job
            self.over.wait(self.pause)
            if self.breaks and number == 1:
                self.breaks -= 1
                abort(context, errors.Unavailable("Draining.", retry_after=0.0))

    def CancelTrainingJob(self, request, context):
        self.jobs[request.name].state = "CANCELLED"
        return self.jobs[request.name]


def abort(context, error):
    context.abort_with_status(rpc_status.to_status(errors.to_status(error)))
