"""Runs `bash -c SCRIPT` NUMBER times, JOBS at a time: the runner that one writes in an afternoon."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

bash, script, number, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])


def run(_):
    done = subprocess.run([bash, "-c", script], stdin=subprocess.DEVNULL, capture_output=True)
    return done.returncode


with ThreadPoolExecutor(jobs) as pool:
    sys.exit(any(pool.map(run, range(number))))
