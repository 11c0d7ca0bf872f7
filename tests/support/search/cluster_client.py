"""A search service's clusters as a client sees them."""

from __future__ import annotations

import asyncio

import grpc

from halftone.v1 import clusters_pb2, clusters_pb2_grpc
from tests.support.search.search_service import name

pb = clusters_pb2
Job = pb.ClusterJob.State


class Clusters:
    """Asks the ClusterService of a service that runs in the test."""

    def __init__(self, service):
        self.service = service

    @property
    def stub(self):
        channel = grpc.aio.insecure_channel(self.service.address)
        return clusters_pb2_grpc.ClusterServiceStub(channel)

    async def run(self, **fields):
        """A job, to its end."""
        job = await self.stub.CreateClusterJob(pb.CreateClusterJobRequest(**fields))
        return await self.ended(job.name)

    async def ended(self, job_name):
        async with asyncio.timeout(60):
            while True:
                job = await self.stub.GetClusterJob(pb.GetClusterJobRequest(name=job_name))
                if job.state != Job.RUNNING:
                    return job
                await asyncio.sleep(0.05)

    async def get(self, which):
        return await self.stub.GetCluster(pb.GetClusterRequest(name=which))

    async def listed(self, **fields):
        return await self.stub.ListClusters(pb.ListClustersRequest(**fields))

    async def sets(self):
        """Clusters as sets of image ids; None where one was gone before it was looked at."""
        try:
            found = [await self.get(cluster.name) for cluster in (await self.listed()).clusters]
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return None
        return sorted(
            sorted(member.image.name.rpartition("/")[2] for member in cluster.members)
            for cluster in found
        )

    async def until(self, expected):
        """Waits until the clusters are these."""
        expected = sorted(sorted(each) for each in expected)
        try:
            async with asyncio.timeout(30):
                while await self.sets() != expected:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            assert await self.sets() == expected

    async def judge(self, a, b, decision, **fields):
        request = pb.JudgePairRequest(a=name(a), b=name(b), decision=decision, **fields)
        return await self.stub.JudgePair(request)
