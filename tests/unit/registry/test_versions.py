"""The registry: versions appear whole, stay as they are, and the pointer never dangles."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from halftone.core import errors
from halftone.registry.manifest import MANIFEST
from halftone.registry.pointer import Pointer
from halftone.registry.versions import Registry


def stage(directory: Path, *, weights: bytes = b"weights") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "spec.json").write_text(json.dumps({"format": 1, "dimension": 8}))
    (directory / "model.safetensors").write_bytes(weights)
    (directory / "golden.json").write_text("{}")
    (directory / "metrics.json").write_text('{"recall_at_1": 0.9}')
    (directory / "report").mkdir(exist_ok=True)
    (directory / "report" / "index.html").write_text("<p>")
    return directory


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    return stage(tmp_path / "staging")


def leftovers(registry: Registry) -> list[str]:
    return [path.name for path in registry.directory.iterdir() if path.name.startswith(".staging")]


def test_what_file_managers_leave_behind_damages_no_version(registry: Registry, staging: Path):
    """Finder writes `.DS_Store` into folders that are looked into."""
    (staging / ".DS_Store").touch()
    version = registry.publish(staging, name="a")
    for name in (".DS_Store", "report/.DS_Store", "report/._index.html", "Thumbs.db"):
        (version.directory / name).write_text("clutter")
    registry.verify(version)
    (version.directory / "more.txt").touch()
    with pytest.raises(errors.DataLoss, match=r"more\.txt"):
        registry.verify(version)


def test_versions_are_numbered_labelled_and_listed(registry: Registry, staging: Path):
    assert registry.list() == []
    first = registry.publish(staging, name="b")
    second = registry.publish(staging, name="b")
    other = registry.publish(staging, name="a", version=7)
    assert [version.id for version in registry.list()] == ["a/7", "b/1", "b/2"]
    assert registry.publish(staging, name="a").id == "a/8"
    assert (second.spec()["name"], second.spec()["version"]) == ("b", 2)
    assert other.metrics() == {"recall_at_1": 0.9}
    assert json.loads((staging / "spec.json").read_text()).get("name") is None
    assert leftovers(registry) == []
    for version in (first, second, other):
        registry.verify(version)


def test_numbers_are_compared_as_numbers(registry: Registry, staging: Path):
    for number in (2, 10):
        registry.publish(staging, name="a", version=number)
    assert registry.resolve("a").id == "a/10"
    assert registry.publish(staging, name="a").id == "a/11"


def test_resolve(registry: Registry, staging: Path):
    with pytest.raises(errors.NotFound):
        registry.resolve("")
    registry.publish(staging, name="a")
    registry.publish(staging, name="a")
    assert registry.resolve("").id == "a/1"
    assert registry.resolve("a").id == "a/2"
    assert registry.resolve("a/1").directory == registry.directory / "a" / "1"
    for missing in ("a/3", "b", "../a/1", "a/01", "a/1/", "A", ".."):
        with pytest.raises(errors.NotFound):
            registry.resolve(missing)


@pytest.mark.parametrize("name", ["", "A", "a/b", "../a", ".a", "a b", "ä", "x" * 64])
def test_a_name_that_is_no_folder_is_refused(registry: Registry, staging: Path, name: str):
    with pytest.raises(errors.InvalidArgument):
        registry.publish(staging, name=name)
    assert not registry.directory.exists()


@pytest.mark.parametrize("file", ["spec.json", "model.safetensors", "golden.json"])
def test_an_incomplete_version_is_refused(registry: Registry, staging: Path, file: str):
    (staging / file).unlink()
    with pytest.raises(errors.InvalidArgument, match=file):
        registry.publish(staging, name="a")
    assert registry.list() == []


def test_a_version_is_never_replaced(registry: Registry, staging: Path, tmp_path: Path):
    registry.publish(staging, name="a")
    with pytest.raises(errors.AlreadyExists):
        registry.publish(stage(tmp_path / "other", weights=b"other"), name="a", version=1)
    assert (registry.resolve("a/1").directory / "model.safetensors").read_bytes() == b"weights"
    assert leftovers(registry) == []


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (lambda d: (d / "model.safetensors").write_bytes(b"weighty"), "model.safetensors differs"),
        (lambda d: (d / "report" / "index.html").unlink(), "report/index.html is missing"),
        (lambda d: (d / "report" / "new.html").write_text("x"), "report/new.html is not in"),
        (lambda d: (d / MANIFEST).unlink(), MANIFEST),
        (lambda d: (d / MANIFEST).write_text("{"), MANIFEST),
        (lambda d: (d / MANIFEST).write_text('{"files": {"a": {}}}'), MANIFEST),
        (lambda d: (d / "spec.json").write_text("{}"), "spec.json differs"),
    ],
)
def test_tampering_is_found_and_the_file_named(registry: Registry, staging: Path, tamper, named):
    version = registry.publish(staging, name="a")
    tamper(version.directory)
    with pytest.raises(errors.DataLoss, match=named):
        registry.verify("a/1")
    with pytest.raises(errors.DataLoss, match=named):
        registry.promote("a/1")


def test_a_damaged_version_is_listed_summed_up_and_deleted(registry: Registry, staging: Path):
    for _ in range(2):
        registry.publish(staging, name="a")
    assert registry.resolve("a/1").summary() == ("", 0, 8, "")
    broken = registry.resolve("a/2")
    for content in ("{", '{"network": []}', '{"dimension": "x"}', None):
        if content is None:
            (broken.directory / "spec.json").unlink()
        else:
            (broken.directory / "spec.json").write_text(content)
        summary = broken.summary()
        assert summary[:3] == ("", 0, 0)
        assert "spec.json" in summary.damage
    with pytest.raises(errors.DataLoss, match=r"a/2: spec\.json is missing"):
        broken.spec()
    (broken.directory / MANIFEST).unlink()
    assert broken.published == 0.0
    registry.delete("a/2")
    assert [version.id for version in registry.list()] == ["a/1"]


def test_the_first_version_is_active_and_later_ones_are_not(registry: Registry, staging: Path):
    assert registry.active is None
    registry.publish(staging, name="a")
    registry.publish(staging, name="b")
    assert registry.pointer() == Pointer("a/1")


def test_promote_and_roll_back(registry: Registry, staging: Path):
    registry.publish(staging, name="a")
    with pytest.raises(errors.FailedPrecondition):
        registry.roll_back()
    registry.publish(staging, name="a")
    registry.promote("a/2")
    assert registry.pointer() == Pointer("a/2", ("a/1",))
    registry.promote("a/2")
    assert registry.pointer() == Pointer("a/2", ("a/1",)), "twice is as once"
    assert registry.roll_back().id == "a/1"
    assert registry.pointer() == Pointer("a/1")
    with pytest.raises(errors.NotFound):
        registry.promote("a/9")
    assert registry.publish(staging, name="c", promote=True).id == "c/1"
    assert registry.pointer() == Pointer("c/1", ("a/1",))


def test_rolling_back_twice_goes_further_back(registry: Registry, staging: Path):
    """It never returns to the version that one fled from."""
    for _ in range(4):
        registry.publish(staging, name="a", promote=True)
    assert registry.pointer() == Pointer("a/4", ("a/3", "a/2", "a/1"))
    assert [registry.roll_back().id for _ in range(2)] == ["a/3", "a/2"]
    registry.promote("a/4")
    assert registry.pointer() == Pointer("a/4", ("a/2", "a/1"))
    registry.delete("a/2")
    assert registry.roll_back().id == "a/1"
    with pytest.raises(errors.FailedPrecondition, match="before a/1, so there is nothing"):
        registry.roll_back()
    assert registry.pointer() == Pointer("a/1")


def test_going_back_to_a_version_by_its_name(registry: Registry, staging: Path):
    for _ in range(3):
        registry.publish(staging, name="a", promote=True)
    registry.roll_back("a/1")
    assert registry.pointer() == Pointer("a/1")
    registry.roll_back("a/1")
    assert registry.pointer() == Pointer("a/1"), "twice is as once"
    registry.roll_back("a/3")
    assert registry.pointer() == Pointer("a/3"), "one that was not before it takes its place"


def test_a_lone_version_without_pointer_is_active_and_stays_so(registry: Registry, staging: Path):
    registry.publish(staging, name="a")
    (registry.directory / "active").unlink()
    assert registry.active.id == "a/1"
    registry.publish(staging, name="b")
    assert registry.active.id == "a/1"


def test_a_damaged_pointer_is_reported(registry: Registry, staging: Path):
    registry.publish(staging, name="a")
    for content in ("", "a/1", "[]", '{"active": 3}', '{"active": "a/1", "previous": 0}'):
        (registry.directory / "active").write_text(content)
        with pytest.raises(errors.DataLoss):
            registry.pointer()


def test_deleting(registry: Registry, staging: Path):
    registry.publish(staging, name="a")
    registry.publish(staging, name="a", promote=True)
    with pytest.raises(errors.FailedPrecondition, match="active"):
        registry.delete("a/2")
    registry.delete("a/1")
    assert registry.pointer() == Pointer("a/2"), "a version that is gone is nobody's previous"
    assert [version.id for version in registry.list()] == ["a/2"]
    assert leftovers(registry) == []
    registry.publish(staging, name="a")
    registry.delete("a/3")
    # Embeddings of a/3 may be about: its number is not given to another model.
    with pytest.raises(errors.AlreadyExists):
        registry.publish(staging, name="a", version=3)
    assert registry.publish(staging, name="a").id == "a/4"


def test_install_copies_verifies_and_activates(registry: Registry, staging: Path, tmp_path: Path):
    source = Registry(tmp_path / "shipped").publish(staging, name="starter").directory
    assert registry.install(source).id == "starter/1"
    assert registry.active.id == "starter/1"
    registry.verify("starter/1")
    assert registry.install(source).id == "starter/1", "again changes nothing"
    other = Registry(tmp_path / "other").publish(
        stage(tmp_path / "x", weights=b"x"), name="starter"
    )
    with pytest.raises(errors.AlreadyExists):
        registry.install(other.directory)
    with pytest.raises(errors.NotFound):
        registry.install(staging)


@pytest.mark.parametrize("name", ["report/index.html", "model.safetensors", "more"])
def test_a_link_in_a_version_is_refused(registry: Registry, staging: Path, tmp_path: Path, name):
    """What it leads to is neither read nor made readable for everybody."""
    version = registry.publish(staging, name="starter")
    source = tmp_path / "elsewhere" / "starter" / "1"
    shutil.copytree(version.directory, source)
    secret = tmp_path / "secret"
    if (source / name).exists():
        shutil.copy(source / name, secret)
        (source / name).unlink()
    else:
        secret.write_text("of somebody else")
    secret.chmod(0o600)
    (source / name).symlink_to(secret)
    other = Registry(tmp_path / "other")
    with pytest.raises(errors.InvalidArgument, match="symbolic link"):
        other.install(source)
    assert other.list() == []
    assert secret.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "tamper",
    [
        lambda d: (d / "model.safetensors").write_bytes(b"weighty"),
        lambda d: (d / "spec.json").unlink(),
        lambda d: (d / MANIFEST).write_text("{"),
        lambda d: (d / MANIFEST).unlink(),
    ],
)
def test_installing_over_a_damaged_copy_repairs_it(
    registry: Registry, staging: Path, tmp_path: Path, tamper
):
    source = Registry(tmp_path / "shipped").publish(staging, name="starter").directory
    target = registry.install(source).directory
    tamper(target)
    damages: list[errors.DataLoss] = []
    for _ in range(2):
        assert registry.install(source, repaired=damages.append).directory == target
    assert [damage.reason for damage in damages] == ["MODEL_DAMAGED"], "the second had no need to"
    registry.verify("starter/1")
    assert registry.pointer() == Pointer("starter/1")
    assert leftovers(registry) == []


def test_a_repair_that_fails_leaves_the_damaged_copy(
    registry: Registry, staging: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = Registry(tmp_path / "shipped").publish(staging, name="starter").directory
    target = registry.install(source).directory
    (target / "golden.json").write_text("[]")
    rename = Path.rename

    def fail(self: Path, to: Path) -> Path:
        if self.name == "version":
            raise OSError(errno.EIO, "broken")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="broken"):
        registry.install(source)
    assert (target / "golden.json").read_text() == "[]"
    (source / "golden.json").write_text("[]")
    with pytest.raises(errors.DataLoss, match=r"golden\.json"):
        registry.install(source)
    assert leftovers(registry) == []


def test_installing_a_damaged_version_copies_nothing(
    registry: Registry, staging: Path, tmp_path: Path
):
    source = Registry(tmp_path / "shipped").publish(staging, name="starter").directory
    (source / "golden.json").write_text("[]")
    with pytest.raises(errors.DataLoss, match=r"golden\.json"):
        registry.install(source)
    assert registry.list() == []
    assert registry.active is None
    assert leftovers(registry) == []


def test_a_disk_that_is_full_is_said_in_one_sentence(registry: Registry, staging: Path):
    """The limit on a file's size stands in for a full disk; both end a copy in its middle."""
    stage(staging, weights=bytes(5000))
    program = (
        "import pathlib, resource, sys\n"
        "from halftone.core import errors\n"
        "from halftone.registry.versions import Registry\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: Registry(pathlib.Path(sys.argv[1])).publish(pathlib.Path(sys.argv[2]), name='m')\n"
        "except errors.StorageFull as error: print(error.message)\n"
    )
    arguments = [sys.executable, "-c", program, str(registry.directory), str(staging)]
    answer = subprocess.run(arguments, capture_output=True, check=True, text=True)
    assert answer.stdout.startswith("The disk is full; the model version was not written")
    assert not registry.list()
    assert not leftovers(registry)


def test_a_private_staging_directory_becomes_readable(registry: Registry, staging: Path):
    staging.chmod(0o700)
    (staging / "model.safetensors").chmod(0o600)
    version = registry.publish(staging, name="a")
    assert version.directory.stat().st_mode & 0o777 == 0o755
    for path in (version.directory / "model.safetensors", registry.directory / "active"):
        assert path.stat().st_mode & 0o777 == 0o644


def test_what_a_killed_publisher_left_is_invisible_and_cleared_later(
    registry: Registry, staging: Path
):
    abandoned = registry.directory / ".staging-old"
    shutil.copytree(staging, abandoned / "version")
    recent = registry.directory / ".staging-new"
    recent.mkdir()
    os.utime(abandoned, (0, 0))
    assert registry.list() == []
    registry.publish(staging, name="a")
    assert not abandoned.exists()
    assert recent.exists(), "somebody may be at it"


def test_a_publisher_killed_at_any_step_leaves_a_whole_version_or_none(
    registry: Registry, staging: Path
):
    """Kills the publisher at each of its renames, file replacements and fsyncs in turn."""
    script = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        from halftone.registry.versions import Registry
        left = int(sys.argv[3])
        def audit(event, arguments):
            global left
            if event in ("os.rename", "os.mkdir", "os.chmod") or (
                event == "open" and str(arguments[0]).startswith(sys.argv[1])
            ):
                left -= 1
                if left == 0:
                    os._exit(9)
        sys.addaudithook(audit)
        Registry(Path(sys.argv[1])).publish(Path(sys.argv[2]), name="a", promote=True)
    """)
    before = registry.publish(staging, name="a")
    outcomes = []
    for step in (1, 4, 9, 15, 20, 26, 28, 29, 30, 31, 32, 33, 34, 35, 36, 38, 40, 10_000):
        arguments = [str(registry.directory), str(staging), str(step)]
        code = subprocess.run([sys.executable, "-c", script, *arguments], check=False).returncode
        assert code in (0, 9)
        outcomes.append(code)
        for version in registry.list():
            registry.verify(version)
        assert registry.active is not None
    assert outcomes[0] == 9
    assert outcomes[-1] == 0
    registry.verify(before)


def publish_many(directory: Path, staging: Path, count: int) -> None:
    registry = Registry(directory)
    for _ in range(count):
        registry.publish(staging, name="a")


def test_concurrent_publishers_get_different_numbers(registry: Registry, staging: Path):
    """Two processes publish and promote while this one reads: nobody ever sees half a version."""
    registry.publish(staging, name="a")
    context = multiprocessing.get_context("spawn")
    publishers = [
        context.Process(target=publish_many, args=(registry.directory, staging, 8))
        for _ in range(2)
    ]
    for publisher in publishers:
        publisher.start()
    while any(publisher.is_alive() for publisher in publishers):
        versions = registry.list()
        registry.verify(versions[-1])
        registry.promote(versions[-1].id)
        assert registry.active is not None
    for publisher in publishers:
        publisher.join()
        assert publisher.exitcode == 0
    assert [version.version for version in registry.list()] == list(range(1, 18))


def test_two_threads_publishing_the_same_number(registry: Registry, staging: Path):
    results: list[object] = []
    barrier = threading.Barrier(4)

    def publish() -> None:
        barrier.wait()
        try:
            results.append(registry.publish(staging, name="a", version=3).id)
        except errors.AlreadyExists as error:
            results.append(error)

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result for result in results if isinstance(result, str)] == ["a/3"]
    assert len(results) == 4
    registry.verify("a/3")


def test_reading_needs_no_write_access(registry: Registry, staging: Path):
    registry.publish(staging, name="a")
    before = sorted(path.name for path in registry.directory.iterdir())
    (registry.directory / "active").unlink()
    registry.directory.chmod(0o555)
    try:
        assert registry.active.id == "a/1"
        registry.verify("a/1")
    finally:
        registry.directory.chmod(0o755)
    assert sorted([*(path.name for path in registry.directory.iterdir()), "active"]) == before
