"""The audit log: what is written, for whom, how much of it, and that no secret is in it."""

from __future__ import annotations

import json
import stat

import pytest
from click.testing import CliRunner

from halftone.cli.app import main
from halftone.core import audit, errors
from halftone.core.keys import Scope
from halftone.service.access import SCOPES, Caller
from halftone.service.audit import AuditLog, Record, is_audited
from halftone.v1 import clusters_pb2, search_pb2

DELETE = "/halftone.v1.SearchService/DeleteImages"


def test_what_changes_something_is_audited_and_nothing_else():
    audited = {method.rpartition("/")[2] for method in SCOPES if is_audited(method)}
    assert {"ImportImages", "JudgePair", "DeleteImages", "PromoteModelVersion"} < audited
    assert {"CreateTrainingJob", "RollBackModelVersion", "UpdateImage"} < audited
    assert not {"SearchImages", "GetTrainingJob", "WatchTrainingJob", "EmbedImages"} & audited
    assert is_audited("/halftone.v1.SearchService/Later")
    assert not is_audited("/grpc.health.v1.Health/Check")


async def test_an_entry_says_who_and_what_and_is_for_its_owner_only(tmp_path):
    path = tmp_path / "data" / "audit.jsonl"
    record = Record(DELETE)
    record.take_request(search_pb2.DeleteImagesRequest(names=["archives/a/images/1"]))
    caller = Caller(key_id="0123456789ab", label="Eva", origin="192.0.2.1")
    await AuditLog(str(path)).write(record.make_entry(caller, code="OK", reason=None))
    await AuditLog(str(path)).write(record.make_entry(caller, code="NOT_FOUND", reason="NONE"))
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert first["action"] == "SearchService/DeleteImages"
    assert (first["key"], first["by"], first["origin"]) == ("0123456789ab", "Eva", "192.0.2.1")
    assert first["subjects"] == ["archives/a/images/1"]
    assert (second["code"], second["reason"]) == ("NOT_FOUND", "NONE")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_verdict_and_an_import_say_what_was_decided_and_how_many():
    record = Record("/halftone.v1.ClusterService/JudgePair")
    record.take_request(clusters_pb2.JudgePairRequest(a="x", b="y", decision="SAME"))
    entry = record.make_entry(Caller(), code="OK", reason=None)
    assert (entry["subjects"], entry["decision"]) == (["x", "y"], "SAME")
    record = Record("/halftone.v1.SearchService/ImportImages")
    answer = search_pb2.ImportImagesResponse
    for number in range(100):
        record.take_answer(answer(name=str(number), state=answer.CREATED))
    entry = record.make_entry(Caller(), code="OK", reason=None)
    assert entry["counts"] == {"created": 100}
    assert entry["subjects"] == [str(number) for number in range(audit.MAX_SUBJECTS)]


def test_what_callers_send_makes_no_line_of_its_own_and_no_long_one(tmp_path):
    path = tmp_path / "audit.jsonl"
    evil = 'x\n{"action": "forged"}\x1b[2J\u2028\u202e' + "z" * 100_000
    record = Record(DELETE)
    record.take_request(search_pb2.DeleteImagesRequest(names=[evil] * 1000))
    entry = record.make_entry(Caller(label=evil, origin=evil), code="OK", reason=None)
    audit.append(path, entry)
    content = path.read_bytes()
    assert content.count(b"\n") == 1
    assert len(content) < 30_000
    assert all(byte == 10 or 32 <= byte < 127 for byte in content)
    shown = CliRunner().invoke(main, ["audit", "--file", str(path)])
    assert shown.exit_code == 0
    assert "\x1b" not in shown.output


def test_a_log_that_cannot_be_written_or_read_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.Unavailable):
        audit.append(tmp_path / "file" / "audit.jsonl", {})
    with pytest.raises(errors.Unavailable):
        audit.read_last(tmp_path, most=1)
    assert audit.read_last(tmp_path / "none", most=1) == []


def test_keys_that_are_made_and_revoked_are_written_down_without_secrets(tmp_path):
    file = tmp_path / "keys.json"
    run = CliRunner().invoke
    made = run(
        main,
        [
            *("keys", "create", "Eva", "--scope", "read", "--quota", "searches=9/day"),
            *("--file", str(file), "--json"),
        ],
    )
    key = json.loads(made.output)
    assert key["quotas"] == ["searches=9/day"]
    run(main, ["keys", "revoke", key["id"], "--file", str(file)])
    listed = run(main, ["keys", "list", "--file", str(file)]).output
    assert "searches=9/day" in listed
    written = (tmp_path / "audit.jsonl").read_text()
    entries = [json.loads(line) for line in written.splitlines()]
    assert [entry["action"] for entry in entries] == ["keys create", "keys revoke"]
    assert {entry["key"] for entry in entries} == {key["id"]}
    assert entries[0]["scopes"] == [Scope.READ]
    for text in (written, listed, file.read_text()):
        assert key["secret"] not in text
    refused = run(
        main, ["keys", "create", "Eva", "--scope", "read", "--quota", "x=1", "--file", str(file)]
    )
    assert refused.exit_code != 0
    assert "is no quota" in refused.output
