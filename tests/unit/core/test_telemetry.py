"""What every event carries."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
import urllib.request

import pytest
import structlog

from halftone.core import telemetry


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


def test_metrics_are_served_until_they_are_stopped_and_that_is_soon():
    metrics = telemetry.Metrics(service="tester")
    metrics.counter("pears", "Pears").inc(3)
    took = []
    for _ in range(3):
        port, stop = metrics.serve(host="localhost", port=0)
        with urllib.request.urlopen(f"http://localhost:{port}/metrics") as page:
            assert b"\nhalftone_tester_pears_total 3.0\n" in page.read()
        began = time.monotonic()
        stop()
        took.append(time.monotonic() - began)
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(f"http://localhost:{port}/metrics")
    assert min(took) < 0.3
