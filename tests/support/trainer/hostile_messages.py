"""Messages that somebody may put on a queue of Celery, straight onto the list of Redis."""

from __future__ import annotations

import base64
import json


def make_hostile_messages(queue: str, *, task: str = "halftone.run") -> list[bytes]:
    """Everything that kombu or Celery stumbles over while they read."""
    body = base64.b64encode(json.dumps([[], {}, {}]).encode()).decode()
    good = {
        "body": body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": task, "id": "h1", "lang": "py"},
        "properties": {
            "correlation_id": "h1",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": "t1",
        },
    }

    def changed(**fields: object) -> dict[str, object]:
        return {**good, **fields}

    def headers(**fields: object) -> dict[str, object]:
        return changed(headers={**good["headers"], **fields})

    def properties(**fields: object) -> dict[str, object]:
        return changed(properties={**good["properties"], **fields})

    envelopes = [
        changed(body="A"),  # no base64
        changed(body={"a": 1}),
        changed(body=base64.b64encode(b"\xff\xfe").decode()),
        changed(body=base64.b64encode(b"[" * 100_000).decode()),
        changed(headers=[1]),
        changed(headers={"task": ["halftone.run"], "id": "h1"}),
        changed(headers={"task": task}),
        changed(properties={}),
        changed(properties=7),
        headers(eta="tomorrow", id=None),
        headers(expires="\x1b[2J", retries="many", timelimit=7),
        headers(argsrepr={"a": 1}, kwargsrepr=[1], id={"a": 1}),
        headers(id=["h1"], root_id=7, origin={}),
        properties(body_encoding="rot13"),
        properties(delivery_info=None),
        properties(delivery_info={}),
        properties(delivery_tag={"a": 1}),
        {**good, "content-type": "application/x-python-serialize"},
        {**good, "content-type": 7, "content-encoding": "no such"},
    ]
    raw = [b"\xff\xfe", b"", b"null", b"7", b"[]", b"{", b"[" * 100_000, b'{"a": NaN}']
    return [*raw, *(json.dumps(envelope).encode() for envelope in envelopes)]
