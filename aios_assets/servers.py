"""The servers of a development machine: Dagster's UI and daemon, MLflow's UI, console, worker."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from aios.errors import AiosError
from aios.settings import PROJECT, Settings
from aios_assets.instance import prepare_home

_HOST = "127.0.0.1"
_GRACE = 15


def serve(
    settings: Settings,
    *,
    port: int,
    mlflow_port: int,
    console_port: int,
    say: Callable[[str], object],
) -> None:
    """Run the servers until one of them ends or the user interrupts.

    Raises:
        AiosError: A port is taken, or a server ends by itself.
    """
    ports = {"--port": port, "--mlflow-port": mlflow_port, "--console-port": console_port}
    for name, taken in ports.items():
        _refuse_taken(name, taken)
    prepare_home(settings)
    (settings.home / "mlflow").mkdir(parents=True, exist_ok=True)
    (settings.home / "reports").mkdir(parents=True, exist_ok=True)
    os.environ["AIOS_CONSOLE_UI"] = f"http://{_HOST}:{console_port}"
    os.environ["AIOS_MLFLOW_UI"] = f"http://{_HOST}:{mlflow_port}"
    workspace = str(PROJECT / "workspace.yaml")
    here = Path(sys.executable).parent
    commands = {
        "Dagster": [here / "dagster-webserver", "-w", workspace, "-h", _HOST, "-p", port],
        "Dagster daemon": [here / "dagster-daemon", "run", "-w", workspace],
        "MLflow": [
            here / "mlflow", "server", "--backend-store-uri", settings.mlflow_uri,
            "--host", _HOST, "--port", mlflow_port, "--workers", 1,
        ],
        "Console": [here / "aios", "console", "--port", console_port],
        "Worker": [here / "aios", "worker"],
    }  # fmt: skip
    processes = {
        name: subprocess.Popen([str(part) for part in command], cwd=PROJECT, start_new_session=True)
        for name, command in commands.items()
    }
    say(
        f"Dagster  http://{_HOST}:{port}\nMLflow   http://{_HOST}:{mlflow_port}\n"
        f"Console  http://{_HOST}:{console_port}\nStop with Ctrl-C."
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while all(process.poll() is None for process in processes.values()):
            time.sleep(0.5)
    except KeyboardInterrupt:
        return
    finally:
        ended = [name for name, process in processes.items() if process.poll() is not None]
        _stop(list(processes.values()))
    raise AiosError(f"{', '.join(ended)} ended by itself", fix="Read its last lines above.")


def _refuse_taken(option: str, port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex((_HOST, port)) == 0:
            raise AiosError(
                f"port {port} is in use", where=_HOST, fix=f"Give another one with {option}."
            )


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    # Each server leads a session of its own, so that its workers end with it.
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
    for process in processes:
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
