"""What every event carries."""

from __future__ import annotations

import io
import json
import logging
import threading

import pytest
import structlog

from halftone import telemetry


@pytest.fixture
def written():
    """Configured as a service is; gives the stream that the events go to."""
    root = logging.getLogger()
    before = root.handlers, root.level
    telemetry.configure_logging(service="tester", level="info", style="json")
    stream = io.StringIO()
    root.handlers[0].setStream(stream)
    yield stream
    root.handlers, _ = before
    root.setLevel(before[1])
    structlog.reset_defaults()


def test_threads_name_the_service_and_the_request_they_work_for(written):
    log = structlog.stdlib.get_logger("a")

    def work():
        with telemetry.request_id_bound("id-1"):
            log.info("one")
        log.info("two", request_id="id-2")
        logging.getLogger("foreign").warning("three")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    events = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["one", "two", "three"]
    assert {event["service"] for event in events} == {"tester"}
    assert [event.get("request_id") for event in events] == ["id-1", "id-2", None]
