"""A web server of a folder in a process of its own, which can go away in the middle of a file, and come back."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PROGRAM: Final = """
import functools, http.server, os, sys, time
folder, port, mode, last = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])

class Handler(http.server.SimpleHTTPRequestHandler):
    asked = 0

    def do_GET(self):
        if self.path.endswith(".tar"):
            Handler.asked += 1
            if Handler.asked == last:
                self.fail()
        super().do_GET()

    def fail(self):
        if mode == "silent":
            time.sleep(3600)
        path = self.translate_path(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(os.path.getsize(path)))
        self.end_headers()
        with open(path, "rb") as stream:
            self.wfile.write(stream.read(os.path.getsize(path) // 2))
        self.wfile.flush()
        os._exit(0)

    def log_message(self, *_):
        pass

with http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Handler, directory=folder)) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
"""


class Web:
    """The server: at one address, however often it goes away.

    Args:
        folder: what it serves.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 0
        self.process: subprocess.Popen[str] | None = None
        self.returning: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, dies_at: int = 0, *, silent_at: int = 0) -> None:
        """Serve; die in the middle of the shard that is asked for as number ``dies_at``, or never answer for one."""
        mode, last = ("silent", silent_at) if silent_at else ("die", dies_at)
        words = [sys.executable, "-c", PROGRAM, str(self.folder), str(self.port), mode, str(last)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def comes_back(self, seconds: float) -> None:
        """Once it has gone away by itself, serve again after so many ``seconds``."""

        def wait() -> None:
            assert self.process is not None
            self.process.wait()
            time.sleep(seconds)
            self.stop()
            self.start()

        self.returning = threading.Thread(target=wait)
        self.returning.start()


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Web]:
    """A server that is not started yet, and is gone in the end."""
    web = Web(folder)
    try:
        yield web
    finally:
        if web.returning is not None:
            web.returning.join(timeout=60)
        web.stop()
