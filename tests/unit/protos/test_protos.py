"""The folder protos/: it compiles by itself, for every language, and is what Python has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool
from google.rpc import error_details_pb2, status_pb2
from grpc_tools import protoc

from halftone.v1 import clusters_pb2, embedder_pb2, models_pb2, search_pb2, trainer_pb2

ROOT = Path(__file__).parents[3]
PROTOS = ROOT / "protos"
NAMES = sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.rglob("*.proto"))
OURS = [name for name in NAMES if name.startswith("halftone/")]
IMPORT = re.compile(r'^import (?:public )?"(.*)";', re.MULTILINE)
# Python imports these, so that the descriptors are in its pool.
MODULES = (
    *(clusters_pb2, embedder_pb2, models_pb2, search_pb2, trainer_pb2),
    *(error_details_pb2, status_pb2),
)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """What the compiler makes of the folder, by the names of the files."""
    target = tmp_path_factory.mktemp("protos") / "all.binpb"
    # The command `python -m grpc_tools.protoc` would add google/protobuf from its own folder.
    assert protoc.main(["protoc", f"-I{PROTOS}", f"--descriptor_set_out={target}", *NAMES]) == 0
    files = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file
    for file in files:
        clear_json_names(file.message_type)
    return {file.name: file for file in files}


def clear_json_names(messages):
    """Some compilers write them down and some do not."""
    for message in messages:
        clear_json_names(message.nested_type)
        for field in message.field:
            field.ClearField("json_name")


def test_all_that_is_imported_lies_beside_it():
    """A compiler may bring files of its own (`compiled` cannot tell), but need not."""
    assert OURS
    for name in NAMES:
        for imported in IMPORT.findall((PROTOS / name).read_text()):
            assert imported in NAMES, f"{name} imports {imported}"


@pytest.mark.parametrize("name", OURS)
def test_every_language_has_a_package(compiled, name):
    options = compiled[name].options
    assert options.go_package == "halftone/v1;halftonev1"
    assert options.java_package == "halftone.v1"
    assert options.java_multiple_files
    assert options.java_outer_classname == Path(name).stem.title() + "Proto"
    assert options.csharp_namespace == "Halftone.V1"


def test_what_is_not_ours_keeps_its_packages_and_its_licence(compiled):
    others = [name for name in NAMES if name not in OURS]
    assert {Path(name).parent.as_posix() for name in others} == {"google/protobuf", "google/rpc"}
    for name in others:
        assert compiled[name].options.go_package.startswith("google.golang.org/")
        assert "Copyright" in "".join((PROTOS / name).read_text().splitlines()[:2])
        assert (PROTOS / name).with_name("LICENSE").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_python_has_the_same_messages(compiled, name):
    """Also of google.rpc, whose Python is a package of its own, maybe of another version."""
    assert all(module.DESCRIPTOR.name for module in MODULES)
    there = descriptor_pb2.FileDescriptorProto()
    descriptor_pool.Default().FindFileByName(name).CopyToProto(there)
    clear_json_names(there.message_type)
    for part in ("package", "message_type", "enum_type", "service"):
        assert getattr(compiled[name], part) == getattr(there, part)


def test_buf_leaves_files_of_others_alone():
    settings = yaml.safe_load((PROTOS / "buf.yaml").read_text())
    assert settings["lint"]["ignore"] == settings["breaking"]["ignore"] == ["google"]
    assert "deps" not in settings  # what is imported lies here
    generation = yaml.safe_load((PROTOS / "buf.gen.yaml").read_text())
    (source,) = generation["inputs"]
    assert source == {"directory": ".", "paths": ["halftone"]}
    for plugin in generation["plugins"]:
        assert (PROTOS / plugin["out"]).resolve().is_relative_to(ROOT / "build")
