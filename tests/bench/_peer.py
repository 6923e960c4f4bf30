"""A peer: a script of ours in a process of its own, which runs another program's code and answers with a line of JSON for each line it is given."""

import json
import os
import subprocess
import sys
import tempfile
import time
from statistics import median


class Peer:
    """Starts `SCRIPT --peer ARGUMENTS`; `first` is what it tells unasked."""

    def __init__(self, script, *arguments):
        self.errors = tempfile.TemporaryFile("w+")
        command = [sys.executable, str(script), "--peer", *map(str, arguments)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.first = self._told()

    def _told(self):
        line = self.child.stdout.readline()
        if not line:
            self.errors.seek(0)
            sys.exit(f"{' '.join(self.child.args)} ended\n{self.errors.read()[-3000:]}")
        return json.loads(line)

    def seconds(self, steps, before=1):
        """The median of so many steps, after some that are not measured."""
        self.child.stdin.write(f"{before} {steps}\n")
        self.child.stdin.flush()
        return self._told()

    def end(self):
        """Its largest resident memory in bytes."""
        self.child.stdin.close()
        _, status, usage = os.wait4(self.child.pid, 0)
        self.child.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_maxrss * 1024


def serve(first, step):
    """The peer's side."""
    print(json.dumps(first), flush=True)
    for line in sys.stdin:
        before, steps = map(int, line.split())
        for _ in range(before):
            step()
        seconds = []
        for _ in range(steps):
            begin = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - begin)
        print(json.dumps(median(seconds)), flush=True)
