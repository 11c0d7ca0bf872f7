"""A small training process with the contract of `trainer.loop.train`, which learns nothing.

What it does depends on the model's name: `crash` raises at step 3, `killed` kills itself at step 5
each time, `killed-once` only the first time, `refuses` reports an error, `silent` exits with 0 and
publishes nothing, `deaf` does not hear SIGTERM; everything else counts its steps and publishes.
Each start is noted in `starts.txt` of its work directory, each step in `steps.txt`. How many
seconds a step takes is in the file that FAKE_PACE names, which may change meanwhile.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> int:  # noqa: C901 - one thing after the other, as the real one
    arguments = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    config = json.loads(Path(arguments["--config"]).read_text())
    events = os.fdopen(int(arguments["--events-fd"]), "w", buffering=1)

    def tell(**event):
        print(json.dumps(event), file=events)

    asked = []
    if config["name"] != "deaf":
        signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    work = Path(config["work"])
    work.mkdir(parents=True, exist_ok=True)
    lock = (work / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        tell(event="error", code="FAILED_PRECONDITION", reason="WORK_DIRECTORY_IN_USE", message="!")
        return 2
    first = not (work / "starts.txt").exists()
    with (work / "starts.txt").open("a") as starts:
        starts.write(f"{os.getpid()} {time.time()}\n")
    tell(event="progress", phase="reading", fraction=0.0)
    print(f"reading {config['data']}", flush=True)
    if config["name"] == "refuses":
        tell(
            event="error",
            code="INVALID_ARGUMENT",
            reason="TOO_LITTLE",
            message="Few.",
            field="data",
        )
        return 2
    pace = os.environ.get("FAKE_PACE")
    checkpoint = work / "checkpoint"
    step = int(checkpoint.read_text()) if checkpoint.exists() else 0
    while step < config["steps"]:
        time.sleep(0.01 if pace is None else float(Path(pace).read_text()))
        step += 1
        with (work / "steps.txt").open("a") as steps:
            steps.write(f"{step}\n")
        tell(
            event="progress",
            phase="training",
            fraction=step / config["steps"],
            step=step,
            loss=float("nan") if step == 1 else 1 / step,
            metrics={"recall_at_1": 0.5},
        )
        print(f"step {step}", flush=True)
        if step % 5 == 0 or asked:
            # Renamed, as the real one does: a kill in the midst of it leaves the old one.
            (work / "checkpoint.new").write_text(str(step))
            (work / "checkpoint.new").replace(checkpoint)
        if asked:
            return 128 + asked[0]
        if config["name"] == "crash" and step == 3:
            raise RuntimeError("the network is a pear")
        if step == 7 and (
            config["name"] == "killed" or (config["name"] == "killed-once" and first)
        ):
            time.sleep(0.7)  # until its progress is written
            os.kill(os.getpid(), signal.SIGKILL)
    if config["name"] != "silent":
        tell(event="published", model_version=f"{config['name']}/1")
    return 0


if __name__ == "__main__":
    sys.exit(main())
