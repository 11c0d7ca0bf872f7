"""The images that compose and Dockerfile start from: pulled, or stand-ins that are made here.

Where no registry can be reached, the base is a tree of Debian, made by debootstrap, with Python and
Redis. This host's certificates go into it, and the index in which this host's pip finds packages.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.compose.engine import Engine, MissingError, remove_tree, run_within

if TYPE_CHECKING:
    from collections.abc import Callable

SUITE = "bookworm"
_MIRROR = "http://deb.debian.org/debian"
_PACKAGES = ("ca-certificates", "python3", "python3-pip", "python3-venv", "redis-server")
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_PIP_OPTIONS = frozenset(
    {
        "extra-index-url",
        "index-url",
        "prefer-binary",
        "proxy",
        "retries",
        "timeout",
        "trusted-host",
    }
)
_TREE = "halftone-compose-test/debian:local"
_PULL_SECONDS = 300
_MAKE_SECONDS = 1200
_WHY = "The public images cannot be pulled, and no stand-ins can be made: "


class Bases:
    """Gets images for an engine, each once."""

    def __init__(self, engine: Engine, *, directory: Path, say: Callable[[str], None]) -> None:
        self._engine = engine
        self._directory = directory
        self._say = say
        self._tree = ""
        self._answers = True
        self.made: list[str] = []

    def get(self, variable: str, *, public: str, make: Callable[[], str]) -> str:
        """Return the image that the environment's variable names, the public one, or a stand-in.

        Raises:
            MissingError: The public one cannot be pulled, and no stand-in can be made.
        """
        if given := os.environ.get(variable):
            return given
        if self._engine.run("image", "inspect", public).returncode == 0:
            return public
        if self._pull(public):
            return public
        return make()

    def _pull(self, image: str) -> bool:
        """Return whether the image is here now. Where one cannot be had, no other is asked for."""
        if self._answers:
            self._answers = False
            with contextlib.suppress(MissingError):
                done = self._engine.run("pull", "--quiet", image, seconds=_PULL_SECONDS)
                self._answers = done.returncode == 0
        return self._answers

    def make_python(self) -> str:
        """Make a stand-in for an image with Python, venv and pip."""
        if not self._tree:
            self._tree = self._make_tree()
        return self._tree

    def make_redis(self) -> str:
        """Make a stand-in for Redis.

        As the public image, it answers other hosts without a password.
        """
        return self._build(
            "redis",
            "RUN mkdir --parents /data && chown 999:1000 /data",
            "WORKDIR /data",
            """ENTRYPOINT ["sh", "-c", "exec \\"$@\\" --protected-mode no", "sh"]""",
        )

    def make_qdrant(self, binary: Path) -> str:
        """Make a stand-in for Qdrant's image with this server in it."""
        context = self._directory / "qdrant"
        context.mkdir(parents=True)
        shutil.copy2(binary, context / "qdrant")
        return self._build(
            "qdrant",
            "WORKDIR /qdrant",
            "COPY qdrant /qdrant/qdrant",
            "RUN mkdir --parents /qdrant/storage && chown 1000:1000 /qdrant/storage",
            'ENTRYPOINT ["/qdrant/qdrant"]',
            context=context,
        )

    def remove(self) -> None:
        """Remove the stand-ins' names; an engine keeps what other images are made of."""
        for image in reversed(self.made):
            with contextlib.suppress(MissingError):
                self._engine.run("image", "rm", "--force", image)

    def _run(self, *arguments: str | Path, **options) -> None:
        """Run a command of the engine, in which the project has no part.

        Raises:
            MissingError: The command failed.
        """
        done = self._engine.run(*arguments, seconds=_MAKE_SECONDS, **options)
        if done.returncode != 0:
            last = done.stdout.strip().splitlines()[-1:]
            raise MissingError(f"{_WHY}docker {arguments[0]} says: {' '.join(last)}")

    def _build(self, name: str, *lines: str, context: Path | None = None) -> str:
        context = context or self._directory / name
        context.mkdir(parents=True, exist_ok=True)
        (context / "Dockerfile").write_text("\n".join((f"FROM {self.make_python()}", *lines, "")))
        image = f"halftone-compose-test/{name}:local"
        self._run("build", "--quiet", *self._engine.build_options, "--tag", image, context)
        self.made.append(image)
        return image

    def _make_tree(self) -> str:
        if sys.platform != "linux" or os.geteuid() != 0:
            raise MissingError(_WHY + "that takes Linux and root.")
        if not shutil.which("debootstrap"):
            raise MissingError(_WHY + "debootstrap is not installed.")
        self._say(f"No registry answers: making a base of Debian {SUITE} …")
        tree = self._directory / "tree"
        tree.mkdir(parents=True)
        command = [
            "debootstrap",
            "--variant=minbase",
            f"--include={','.join(_PACKAGES)}",
            SUITE,
            str(tree),
            os.environ.get("DEBIAN_MIRROR", _MIRROR),
        ]
        try:
            done = run_within(_MAKE_SECONDS, command)
            if done.returncode != 0:
                last = done.stdout.strip().splitlines()[-1:]
                raise MissingError(_WHY + f"debootstrap says: {' '.join(last)}")
            return self._import_tree(tree)
        finally:
            remove_tree(tree)

    def _import_tree(self, tree: Path) -> str:
        (tree / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        if certificates := find_certificates():
            shutil.copy(certificates, f"{tree}{_CERTIFICATES}")
        options = {**read_pip_options(), "cert": _CERTIFICATES}
        lines = [f"{key} = {value}" for key, value in sorted(options.items())]
        (tree / "etc/pip.conf").write_text("\n".join(("[global]", *lines, "")))
        with subprocess.Popen(["tar", "-C", tree, "-c", "."], stdout=subprocess.PIPE) as packed:
            self._run("import", "-", _TREE, stdin=packed.stdout)
        self.made.append(_TREE)
        return _TREE


def find_certificates() -> Path | None:
    """Return the file of certificates that programs of this host trust; None if there is none."""
    named = (os.environ.get(name) for name in ("PIP_CERT", "SSL_CERT_FILE"))
    candidates = (*named, _CERTIFICATES, ssl.get_default_verify_paths().cafile)
    return next((Path(each) for each in candidates if each and Path(each).is_file()), None)


def read_pip_options() -> dict[str, str]:
    """Return where this host's pip finds packages, from its files and the environment."""
    # Where there is no pip, there is nothing to read either.
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    return parse_pip_options(done.stdout)


def parse_pip_options(listing: str) -> dict[str, str]:
    """Return the options that say where packages are found, from the output of `pip config list`.

    Lines of the environment (`:env:`) count more than those of files.
    """
    options: dict[str, dict[str, str]] = {"global": {}, ":env:": {}}
    for line in listing.splitlines():
        parts = re.fullmatch(r"(global|:env:)\.([a-z-]+)=(.*)", line.strip())
        if parts and parts[2] in _PIP_OPTIONS:
            value = str(ast.literal_eval(parts[3])).strip()
            # Several values stand on lines of their own.
            options[parts[1]][parts[2]] = "\n    ".join(value.split("\n"))
    return {**options["global"], **options[":env:"]}
