"""The command line in a fork of a process that has loaded it: for tests of what it says, and not of how it starts.

`python -c` of SERVER listens at a socket; a command sends its words, its folder, its variables and its streams there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVER = """
import gc, json, os, signal, socket, sys, traceback
import onnx, onnxruntime
import fc2conv.cli.batch, fc2conv.cli.convert, fc2conv.cli.report, fc2conv.cli.verify, fc2conv.pipeline
from fc2conv import api
from fc2conv import system
from fc2conv.__main__ import main

system.die_with(os.getppid())
api.load()
gc.freeze()  # a fork does not copy what it does not change
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
with socket.socket(socket.AF_UNIX) as listening:
    listening.bind(sys.argv[1])
    listening.listen()
    print("ready", flush=True)
    while True:
        asked, _ = listening.accept()
        if os.fork():
            asked.close()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listening.close()
        sent, streams, _, _ = socket.recv_fds(asked, 1 << 20, 3)
        words, folder, variables = json.loads(sent)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        sys.stdin, sys.stdout, sys.stderr = (open(i, "rww"[i], closefd=False) for i in range(3))
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)
        code = 70
        try:
            code = int(main(words))
            sys.stdout.flush()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            asked.send(bytes([code]))
            os._exit(code)
"""
CLIENT = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    socket.send_fds(server, [json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()], [0, 1, 2])
    sys.exit(server.recv(1)[0])
"""


@contextmanager
def warm(folder: Path) -> Iterator[Path]:
    """A script that does what `fc2conv` does, as long as this lasts."""
    place, client, script = folder / "server", folder / "client.py", folder / "fc2conv"
    client.write_text(CLIENT, "utf-8")
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -E "{client}" "{place}" "$@"\n', "utf-8")
    script.chmod(0o755)
    roots = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": roots, "NO_COLOR": "1"}
    command = [sys.executable, "-c", SERVER, str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield script
        finally:
            server.terminate()
