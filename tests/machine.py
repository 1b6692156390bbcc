"""A folder with the recipes in it, whose commands lead back into the process of the test."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from vlm.cli import main

ROOT = Path(__file__).resolve().parents[1]
DOOR = """#!{python} -IS
import json, socket, sys
with socket.create_connection(("127.0.0.1", {port})) as line:
    line.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
    sys.exit(int(line.makefile().readline()))
"""
COMMAND = '#!/usr/bin/env bash\nexec {command} "$@"\n'
# As SLURM's: all tasks of all nodes, each told which one it is; here they share this machine.
SRUN = """#!/usr/bin/env bash
export SLURM_NTASKS=$((SLURM_NNODES * SLURM_NTASKS_PER_NODE)) SLURM_NODELIST=127.0.0.1
for ((rank = 0; rank < SLURM_NTASKS; rank++)); do
    SLURM_PROCID=$rank SLURM_NODEID=$((rank / SLURM_NTASKS_PER_NODE)) \\
        SLURM_LOCALID=$((rank % SLURM_NTASKS_PER_NODE)) "$@" &
    tasks+=("$!")
done
for task in "${tasks[@]}"; do wait "$task" || status=$?; done
exit "${status:-0}"
"""
SCONTROL = '#!/usr/bin/env bash\necho "$@" > scontrol.log\n'


def write(file: Path, content: str | bytes, *, executable: bool = False) -> None:
    """Writes a file and the folders above it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    file.chmod(0o755 if executable else 0o644)


class Machine:
    """Runs the recipes in a folder of their own, which must be the working directory.

    Attributes:
        folder: in question.
        calls: of ``vlm`` in the last :meth:`run`, in order.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[list[str]] = []
        self.command("srun", SRUN)
        self.command("scontrol", SCONTROL)
        self.command("python", COMMAND.format(command=sys.executable))
        (folder / "configs").symlink_to(ROOT / "configs")
        shutil.copytree(ROOT / "scripts", folder / "scripts")

    def command(self, name: str, content: str) -> None:
        """Puts a command of this content before the machine's own."""
        write(self.folder / "bin" / name, content, executable=True)

    def run(self, script: str, **variables: str) -> tuple[int, str]:
        """The exit status of a script and what it said; ``vlm`` runs in this very process."""
        self.calls.clear()
        with socket.create_server(("127.0.0.1", 0)) as door, self.log.open("wb") as stream:
            door.settimeout(0.05)
            self.command("vlm", DOOR.format(python=sys.executable, port=door.getsockname()[1]))
            process = self.start(script, variables, stream)
            while process.poll() is None:
                try:
                    line, _ = door.accept()
                except TimeoutError:
                    continue
                with line, line.makefile() as asked:
                    self.calls.append(json.loads(asked.readline()))
                    line.sendall(f"{main(self.calls[-1])}\n".encode())
        return process.returncode, self.log.read_text()

    def run_apart(self, script: str, **variables: str) -> tuple[int, str]:
        """The same with ``vlm`` in processes of its own."""
        self.command("vlm", COMMAND.format(command=f"{sys.executable} -m vlm"))
        with self.log.open("wb") as stream:
            status = self.start(script, variables, stream).wait(timeout=200)
        return status, self.log.read_text()

    def start(
        self, script: str, variables: Mapping[str, str], stream: BinaryIO
    ) -> subprocess.Popen:
        """A script that is running, in a process group of its own."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return subprocess.Popen(
            ["bash", str(self.folder / "scripts" / script)],
            cwd=self.folder,
            env=os.environ | variables | {"PATH": path},
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def log(self) -> Path:
        """What the last script said."""
        return self.folder / "log"

    @property
    def verbs(self) -> list[str]:
        """Of the calls."""
        return [call[0] for call in self.calls]
