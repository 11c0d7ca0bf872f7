"""A Docker engine: the one that answers here, or one that is started for the tests alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.outside import find_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_START_SECONDS = 120
_STOP_SECONDS = 60
MIN_FREE_GB = 20
"""For an engine's images: the trainer's and the stage that builds it take up to 6.5 GB each."""
MIN_FREE_GB_COPYING = 150
"""For an engine whose layers are whole copies (vfs), as where no overlay can be mounted."""


class MissingError(Exception):
    """Something that the tests need is not here and cannot be had; the message says what."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A running engine.

    Attributes:
        docker: The client.
        compose: The command that runs compose.
        variables: What is added to the environment of both.
        build_options: Further options of `docker build`, with those of DOCKER_BUILD_ARGS.
    """

    docker: str
    compose: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    build_options: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its commands."""
        return {**os.environ, **self.variables}

    def run(
        self, *arguments: str | Path, seconds: float = 120, **options
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the client; the result is not checked.

        Raises:
            MissingError: It took too long.
        """
        return run_within(
            seconds, [self.docker, *map(str, arguments)], env=self.environment, **options
        )

    def read(self, *arguments: str | Path, seconds: float = 120, **options) -> str:
        """Run a command of the client and return what it printed.

        Raises:
            MissingError: The command failed for a reason outside the project.
            AssertionError: It failed for another one; the message is what it printed.
        """
        done = self.run(*arguments, seconds=seconds, **options)
        if done.returncode and (reason := find_reason(done.stdout)):
            raise MissingError(f"docker {arguments[0]}: {reason}")
        assert done.returncode == 0, f"docker {' '.join(map(str, arguments))}\n{done.stdout}"
        return done.stdout.strip()


def run_within(
    seconds: float,
    command: Sequence[str],
    *,
    input: str | None = None,  # noqa: A002 - as subprocess.run has it
    **options,
) -> subprocess.CompletedProcess[str]:
    """Run a command; its result has both outputs in one and is not checked.

    Raises:
        MissingError: It took longer than these seconds; it and its children were ended.
    """
    with subprocess.Popen(
        command,
        stdin=options.pop("stdin", None) if input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **options,
    ) as process:
        try:
            printed, _ = process.communicate(input, timeout=seconds)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                words = " ".join(map(str, command[:3]))
                raise MissingError(f"`{words} …` took longer than {seconds:g} s.") from None
            raise
    return subprocess.CompletedProcess(command, process.returncode, printed)


@contextlib.contextmanager
def open_engine(data: Path, *, say: Callable[[str], None]) -> Iterator[Engine]:
    """Yield an engine; one that had to be started is stopped and removed at the end.

    Args:
        data: A directory for the data of an engine that has to be started. It is removed, as are
            those beside it that are called after a process that no longer runs.
        say: Tells the person who waits what happens.

    Raises:
        MissingError: No engine answers, and none can be started here; or it has too little space.
    """
    clients = _list_clients()
    if not clients:
        raise MissingError("There is no Docker client (docker) on the PATH.")
    for client in clients:
        if _answers(client, os.environ):
            found = _describe(client)
            _check_space(found)
            yield found
            return
    if "DOCKER_HOST" in os.environ:
        raise MissingError(f"No Docker engine answers at {os.environ['DOCKER_HOST']}.")
    with _start_engine(data, say=say) as variables:
        answering = [each for each in clients if _answers(each, {**os.environ, **variables})]
        # Engines without the default bridge build in the network of the host.
        client = next(filter(_has_buildkit, answering), answering[0])
        started = _describe(client, variables=variables, build_options=("--network", "host"))
        _check_space(started)
        yield started


def _check_space(engine: Engine) -> None:
    """Raise MissingError if the engine has too little space for the images.

    Nothing is known about the space of an engine on another machine.
    """
    printed = engine.run("info", "--format", "{{.Driver}}\t{{.DockerRootDir}}").stdout
    # Clients print warnings, too.
    lines = [line.split("\t") for line in printed.splitlines() if line.count("\t") == 1]
    if not lines:
        return
    driver, root = lines[-1]
    try:
        free = shutil.disk_usage(root).free / 1e9
    except OSError:
        return
    needed = MIN_FREE_GB_COPYING if driver in ("vfs", "native") else MIN_FREE_GB
    if free < needed:
        raise MissingError(f"{root} has {free:.0f} of the {needed} GB that {driver} needs.")


def _describe(
    client: str,
    *,
    variables: Mapping[str, str] | None = None,
    build_options: tuple[str, ...] = (),
) -> Engine:
    for compose in ((client, "compose"), ("docker-compose",)):
        with contextlib.suppress(OSError):
            done = subprocess.run([*compose, "version"], capture_output=True, check=False)
            if done.returncode == 0:
                break
    else:
        raise MissingError(f"Neither `{client} compose` nor docker-compose is installed.")
    # A client with BuildKit built in takes the old builder if it is not told otherwise.
    chosen = {"DOCKER_BUILDKIT": "1"} if _has_buildkit(client) else {}
    return Engine(
        docker=client,
        compose=compose,
        variables={**chosen, **(variables or {})},
        build_options=(*build_options, *os.environ.get("DOCKER_BUILD_ARGS", "").split()),
    )


def _list_clients() -> list[str]:
    if "DOCKER" in os.environ:
        return [os.environ["DOCKER"]]
    found = (shutil.which("docker", path=each) for each in os.get_exec_path())
    return list(dict.fromkeys(each for each in found if each))


def _answers(client: str, environment: Mapping[str, str]) -> bool:
    try:
        done = subprocess.run(
            [client, "info", "--format", "{{.ServerVersion}}"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    # Some clients end with 0 although nobody answered them.
    return done.returncode == 0 and done.stdout.strip()[:1].isdigit()


def _has_buildkit(client: str) -> bool:
    """Return whether `docker build` has BuildKit: built in until release 23, then by a plug-in."""
    done = subprocess.run([client, "--version"], capture_output=True, text=True, check=False)
    release = done.stdout.removeprefix("Docker version ").partition(".")[0]
    if release.isdigit() and int(release) < 23:
        return True
    done = subprocess.run([client, "buildx", "version"], capture_output=True, check=False)
    return done.returncode == 0


@contextlib.contextmanager
def _start_engine(data: Path, *, say: Callable[[str], None]) -> Iterator[dict[str, str]]:
    """Run dockerd on a socket and a data directory of its own; yield its clients' variables."""
    _check_that_it_can_start(data)
    short = Path(tempfile.mkdtemp(prefix="halftone-engine-"))  # sockets have short names
    socket, log = f"unix://{short}/docker.sock", short / "dockerd.log"
    # The host's firewall and forwarding stay as they are: ports are published by a process, and
    # containers reach each other over their bridge. Where others have closed that way, the
    # engine has to open it.
    network = ["--bridge", "none", "--ip-forward=false"]
    if _bridges_are_open():
        network += ["--iptables=false", "--ip6tables=false"]
    command = ["dockerd", "--host", socket, "--data-root", data, "--exec-root", short / "exec"]
    command += ["--pidfile", short / "dockerd.pid", *network]
    if shutil.which("setpriv"):  # not even a killed test leaves it behind
        command = ["setpriv", "--pdeathsig", "TERM", *command]
    say("Starting a Docker engine …")
    try:
        data.mkdir(parents=True)
    except OSError as error:
        raise MissingError(f"No Docker engine can be started here: {error}") from error
    with log.open("w") as output:
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the tests, which stop it at their end
        )
    variables = {"DOCKER_HOST": socket}
    try:
        _wait_for_engine(process, environment={**os.environ, **variables}, log=log)
        yield variables
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for directory in (data, short):
            remove_tree(directory)


def _check_that_it_can_start(data: Path) -> None:
    why = "No Docker engine answers, and none can be started here: "
    if sys.platform != "linux" or os.geteuid() != 0:
        raise MissingError(why + "that takes Linux and root.")
    if not shutil.which("dockerd"):
        raise MissingError(
            why + "dockerd is not installed (Debian: docker.io, docker-compose, debootstrap)."
        )
    data.parent.mkdir(parents=True, exist_ok=True)
    for left in data.parent.iterdir():  # by tests that were killed
        if left.name.isdigit() and not Path("/proc", left.name).exists():
            remove_tree(left)
    free = shutil.disk_usage(data.parent).free / 1e9
    if free < MIN_FREE_GB:
        raise MissingError(why + f"{data.parent} has {free:.0f} of {MIN_FREE_GB} GB.")


def _bridges_are_open() -> bool:
    try:
        filters = Path("/proc/sys/net/bridge/bridge-nf-call-iptables").read_text()
    except OSError:
        return True
    if filters.strip() == "0":
        return True
    policy = subprocess.run(
        ["iptables", "-S", "FORWARD"], capture_output=True, text=True, check=False
    )
    return policy.stdout.splitlines()[:1] == ["-P FORWARD ACCEPT"]


def _wait_for_engine(
    process: subprocess.Popen[bytes], *, environment: Mapping[str, str], log: Path
) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not any(_answers(client, environment) for client in _list_clients()):
        if process.poll() is not None or time.monotonic() > deadline:
            last = log.read_text().strip().splitlines()[-1:]
            raise MissingError(f"No Docker engine can be started here: {' '.join(last)}")
        time.sleep(0.2)


def remove_tree(directory: Path) -> None:
    """Remove a directory, and before that what is mounted in it."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted(
        (each for each in mounts if Path(each).is_relative_to(directory)), reverse=True
    ):
        subprocess.run(["umount", "--lazy", mount], check=False)
    shutil.rmtree(directory, ignore_errors=True)
