"""The examples in the documentation, run as they stand against a real stack."""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import click
import grpc
import pytest
from click.testing import CliRunner
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from halftone.archive import sample
from halftone.archive.manifests import read_manifest
from halftone.cli.app import main
from halftone.v1 import clusters_pb2, embedder_pb2, models_pb2, search_pb2, trainer_pb2

_READ_OF_MODELS = {"ListModelVersions", "GetModelVersion"}
_OF_NAMES_IN_ANSWERS = {
    *("GetClusterJob", "CancelClusterJob", "GetCluster", "JudgePair", "DeleteVerdict"),
}
ROOT = Path(__file__).parents[2]
# A command's messages are its argument, or follow as its input.
COMMAND = re.compile(
    r"grpcurl -plaintext (?:-(?!d)\S+ (?:\d+ )?)*(?:-d (?:'(?P<json>.*?)'|@) )?(?:\\\n +)?"
    r"(?P<address>[\d.]+:\d+) (?P<service>halftone\.v1\.\w+)/(?P<method>\w+)"
    r"(?: <<EOF\n(?P<input>.*?)\nEOF)?(?: \|\| test \$\? -eq (?P<exit>\d+).*)?$",
    re.DOTALL | re.MULTILINE,
)
PICTURE = r"$(base64 < found.jpg | tr -d '\n')"


COMMANDS = re.compile(r"^halftone (.*?)(?: {2,}#.*)?$", re.MULTILINE)


@pytest.fixture
def desk(stack, stack_data, press, tmp_path, monkeypatch):
    """A folder as the pages describe it; gives what to replace in them."""
    shutil.copytree(press, tmp_path / "press")
    shutil.copytree(press, stack_data / "datasets" / "press", dirs_exist_ok=True)
    shutil.copy(sample.query_path(press, "astronaut"), tmp_path / "found.jpg")
    monkeypatch.chdir(tmp_path)
    return {
        "127.0.0.1:7102": stack.addresses.search,
        "127.0.0.1:7101": stack.addresses.embedder,
        "127.0.0.1:7103": stack.addresses.trainer,
        "127.0.0.1:7104": urlsplit(stack.addresses.broker).netloc,
        "data/queue/password": str(stack_data / "queue" / "password"),
    }


def read(name, replacements):
    text = (ROOT / name).read_text()
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.parametrize("name", ["docs/api.md", "docs/clients.md", "README.md"])
def test_the_python_examples(desk, client, name, capsys):
    client.import_images(read_manifest(Path("press"), archive="press"))
    text = read(name, desk)
    namespace = {"__name__": "docs"}
    blocks = list(re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    assert blocks
    for block in blocks:
        line = text.count("\n", 0, block.start(1))
        # Keeps the page's line numbers in tracebacks.
        code = compile("\n" * line + block[1], str(ROOT / name), "exec")
        exec(code, namespace)  # noqa: S102  # our own documentation
    if name == "docs/api.md":
        namespace["client"].close()
        assert len(blocks) > 12
        printed = capsys.readouterr().out
        assert "NOT_AN_IMAGE" in printed
        assert "The Larkhaven Courier" in printed
        assert "\npress/1 None\n" in printed
        assert "succeeded starter/1" in printed
    elif name == "docs/clients.md":
        printed = capsys.readouterr().out.splitlines()
        assert "INVALID_DATE" in printed[0]
        assert "The Larkhaven Courier 1974-08" in printed[1]
        assert printed[-1].endswith("NOT_FOUND")


def test_the_commands_in_the_readme(desk, stack):
    text, training = (ROOT / "README.md").read_text().split("## A model of your own")
    commands = COMMANDS.findall(text)
    assert [shlex.split(command)[0] for command in commands][:3] == ["up", "import", "search"]
    for command in commands[1:]:
        words = shlex.split(command.replace("~/my-archive", "press"))
        result = CliRunner().invoke(
            main, words, env={"HALFTONE_SEARCH": stack.addresses.search, "HALFTONE_DATA": "none"}
        )
        assert result.exit_code == 0, (command, result.output)
    assert "data:image/jpeg" in Path("hits.html").read_text()
    # Training takes too long here; their options are read.
    commands = COMMANDS.findall(training)
    assert len(commands) > 4
    for text in commands:
        words = shlex.split(re.sub(r"~/[\w/-]+", "press", text))
        command = main
        while isinstance(command, click.Group):
            command = command.get_command(click.Context(command), words.pop(0))
            assert command is not None, text
        command.make_context("halftone", words)


@pytest.mark.parametrize("name", ["docs/grpc.md", "docs/clients.md"])
def test_the_json_examples(desk, name):
    text = read(name, desk).replace(
        PICTURE, base64.b64encode(Path("found.jpg").read_bytes()).decode()
    )
    commands = list(COMMAND.finditer(text))
    assert len(commands) == len(re.findall(r" halftone\.v1\.\w+/\w+", text))
    services = {
        service.full_name: service
        for file in (search_pb2, embedder_pb2, models_pb2, clusters_pb2, trainer_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
    }
    for command in commands:
        method = services[command["service"]].methods_by_name[command["method"]]
        requests = [
            json_format.ParseDict(message, GetMessageClass(method.input_type)())
            for message in _messages(command["json"] or command["input"] or "{}")
        ]
        with grpc.insecure_channel(command["address"]) as channel:
            if command["method"] not in _READ_OF_MODELS and "Model" in command["service"]:
                # Would change which version answers; that the request is one is what is checked.
                continue
            if command["method"] in _OF_NAMES_IN_ANSWERS:
                continue
            if command["exit"]:
                with pytest.raises(grpc.RpcError) as failed:
                    _call(channel, method, requests)
                # As grpcurl has it.
                assert 64 + failed.value.code().value[0] == int(command["exit"])
                continue
            answers = _call(channel, method, requests)
        for result in [*getattr(answers[-1], "results", []), answers[0]]:
            error = result.DESCRIPTOR.fields_by_name.get("error")
            assert error is None or not error.has_presence or not result.HasField("error")
    told = {command["method"] for command in commands}
    if name == "docs/grpc.md":
        assert told == {name for service in services.values() for name in service.methods_by_name}


def _messages(text):
    """Yields the JSON objects that a text consists of."""
    decoder = json.JSONDecoder()
    while text := text.strip():
        message, end = decoder.raw_decode(text)
        text = text[end:]
        yield message


def _call(channel, method, requests):
    """Calls a method and gives its answers."""
    kinds = {True: "stream", False: "unary"}
    kind = f"{kinds[method.client_streaming]}_{kinds[method.server_streaming]}"
    call = getattr(channel, kind)(
        f"/{method.containing_service.full_name}/{method.name}",
        GetMessageClass(method.input_type).SerializeToString,
        GetMessageClass(method.output_type).FromString,
    )
    answer = call(iter(requests) if method.client_streaming else requests[0], timeout=60)
    return list(answer) if method.server_streaming else [answer]
