"""A server in a temporary folder, with whatever accounts a suite needs."""

import json
import os
import pathlib
import subprocess
import tempfile
import time

PATIENCE_S = 30
# Suites send from one address, as fast as they can, and much that is wrong.
SETTINGS = {
    "MQTT__LISTEN": "127.0.0.1:0",
    "HTTP__LISTEN": "127.0.0.1:0",
    "SERVICE__LISTEN": "127.0.0.1:0",
    "MEDIA__LISTEN": "127.0.0.1:0",
    "WEB__LISTEN": "",
    "METRICS__LISTEN": "",
    "LIMITS__FAILED_LOGINS": "0",
    "LIMITS__GROUP_MEMBERS_MAX": "10000",
    "LIMITS__STRANGER_ADDS_PER_DAY": "0",
    "LIMITS__CONVERSATIONS_PER_USER": "0",
}


def place(address):
    host, _, port = address.rpartition(":")
    return host, int(port)


class Server:
    """`godwit serve`, until the end of the `with`."""

    def __init__(self, program):
        self.program = program
        self.folder = tempfile.TemporaryDirectory(prefix="godwit-conformance-")
        self.data = pathlib.Path(self.folder.name, "data")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GODWIT__")}
        self.environment = kept | {f"GODWIT__{name}": value for name, value in SETTINGS.items()}

    def __enter__(self):
        log = open(pathlib.Path(self.folder.name, "log"), "w")
        command = [self.program, "serve", "--data", str(self.data)]
        self.process = subprocess.Popen(command, env=self.environment, stderr=log, stdout=log)
        listeners, end = self.data / "listeners.json", time.monotonic() + PATIENCE_S
        while not listeners.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the server does not start:\n{pathlib.Path(log.name).read_text()}")
            time.sleep(0.05)
        said = json.loads(listeners.read_text())
        self.address, self.http = (place(it) for it in (said["mqtt"][0], said["http"]))
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        self.folder.cleanup()

    def is_alive(self):
        """It has not ended."""
        return self.process.poll() is None

    def add_user(self, user, device):
        """Makes an account; returns its password."""
        return self._add("user", "add", user, "--device", device)

    def add_device(self, user, device):
        """Gives a user another device; returns its password."""
        return self._add("device", "add", user, device)

    def _add(self, *arguments):
        command = [self.program, *arguments, "--data", str(self.data)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)}: {done.stderr}")
        return json.loads(done.stdout)["password"]
