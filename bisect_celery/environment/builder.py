# ruff: noqa: UP006, UP031, UP035
# Runs where environments are built, by whatever Python is there: standard library only, Python 3.6 and later, hence
# typing's own names. Its source is handed over as `python -c`, with the job as one JSON argument.
"""One locked step of building: a resolution, a wheel, or an environment. Prints what uv prints; exits with uv's status.

A job names `target`. Its lock file is held (flock: the kernel drops it when we are killed) while the step runs,
and a target that another session finished meanwhile is left as it is. An environment counts only with its marker,
which is written last and in one move; without it, whatever stands there is a killed build and is removed.
"""

import contextlib
import fcntl
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any, Dict, Iterator, List, Tuple

Job = Dict[str, Any]

NO_START = 126


def main(job: Job) -> int:
    target = job["target"]
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    with locked(target + ".lock"):
        if job["step"] == "resolve":
            return 0 if os.path.exists(target) else resolve(job, target)
        if job["step"] == "wheel":
            return 0 if os.path.exists(target) else wheel(job, target)
        return 0 if os.path.exists(os.path.join(target, job["marker"])) else install(job, target)


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def resolve(job: Job, target: str) -> int:
    tree = os.path.realpath(os.getcwd())
    folder = os.path.join(tree, job["folder"])
    with tempfile.TemporaryDirectory() as scratch:
        for command in job.get("before", ()):
            code = shown(filled(command, scratch=scratch), folder)
            if code:
                return code
        code, out = captured(filled(job["command"], scratch=scratch), folder)
    if code == 0:
        # The tree stands somewhere else next time: what is required of it is named relative to the folder.
        text = out.decode("utf-8", "replace").replace("file://" + tree + "/", os.path.relpath(tree, folder) + "/")
        write(target, text)
    return code


def wheel(job: Job, target: str) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        code = shown(filled(job["command"], scratch=scratch))
        if code == 0:
            (made,) = glob.glob(os.path.join(scratch, "*.whl"))
            shutil.copyfile(made, target + ".part")
            os.rename(target + ".part", target)
    return code


def install(job: Job, target: str) -> int:
    shutil.rmtree(target, ignore_errors=True)
    # Paths in the list are relative to it: it stands in the copied tree where there is one. We hold the lock, so one
    # name will do, and what a kill leaves is overwritten.
    lock = os.path.join(os.getcwd(), ".bisect-celery-lock.txt") if job["beside_tree"] else target + ".txt"
    try:
        with open(lock, "w") as lines:
            lines.write(job["lock"])
        for command in job["commands"]:
            code = shown(filled(command, lock=lock))
            if code:
                shutil.rmtree(target, ignore_errors=True)
                return code
        code, out = captured(job["list"])
        if code == 0:
            name_project(job["metadata"], target)
            packages = [[one["name"], one["version"]] for one in json.loads(out.decode("utf-8"))]
            write(os.path.join(target, job["marker"]), json.dumps({"packages": packages, "lock": job["lock"]}))
        return code
    finally:
        os.remove(lock)


def name_project(metadata: Dict[str, str], target: str) -> None:
    """Put the project's own metadata where `importlib.metadata` finds it, after its dependencies are listed."""
    (packages,) = glob.glob(os.path.join(target, "lib", "python*", "site-packages"))
    for path, text in metadata.items():
        place = os.path.join(packages, path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        write(place, text)


def captured(command: List[str], folder: str = ".") -> Tuple[int, bytes]:
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    out, _ = process.communicate()
    return process.returncode, out


def shown(command: List[str], folder: str = ".") -> int:
    return subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=sys.stderr).wait()


def filled(command: List[str], **places: str) -> List[str]:
    for name, place in places.items():
        command = [word.replace("{" + name + "}", place) for word in command]
    return command


def write(path: str, text: str) -> None:
    handle, part = tempfile.mkstemp(dir=os.path.dirname(path))
    with os.fdopen(handle, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(part, path)


if __name__ == "__main__":
    try:
        sys.exit(main(json.loads(sys.argv[1])))
    except OSError as error:
        sys.stderr.write("error: %s\n" % error)
        sys.exit(NO_START)
