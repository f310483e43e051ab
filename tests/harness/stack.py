"""For test scripts in Python: a whole installation, as `make run` starts it, and programs that must succeed."""
import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import yaml

BUILD = os.environ.get("BUILD", "build/release")


class TextLoader(yaml.SafeLoader):
    """Leaves texts that look like times as they are, like Go's YAML library where no type is asked for."""


TextLoader.yaml_implicit_resolvers = {
    first: [(tag, expression) for tag, expression in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()}


def run(argv, data="", env=None):
    """The output of a program that must succeed."""
    done = subprocess.run(argv, input=data, capture_output=True, text=True, env={**os.environ, **(env or {})}, timeout=300)
    if done.returncode != 0:
        raise RuntimeError("%s ended with %d: %s%s" % (argv, done.returncode, done.stdout, done.stderr))
    return done.stdout


def start_stack():
    """Its URL up to the method, a token with every scope, and the URL of the database as its owner."""
    work = tempfile.mkdtemp(prefix="incidents-stack.")
    port = run(["scripts/free-port"]).strip()
    log = open(work + "/log", "w", encoding="utf-8")
    stack = subprocess.Popen(["scripts/run"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                             env={**os.environ, "STATE": work + "/state", "PORT": port, "BUILD": BUILD})

    def stop():
        stack.send_signal(signal.SIGTERM)
        stack.wait()
        shutil.rmtree(work)

    atexit.register(stop)
    for _ in range(1200):
        if os.path.exists(work + "/state/env") or stack.poll() is not None:
            break
        time.sleep(0.1)
    else:
        sys.exit("make run does not start")
    if stack.poll() is not None:
        with open(work + "/log", encoding="utf-8") as said:
            sys.exit("make run has ended: " + said.read())
    with open(work + "/state/env", encoding="utf-8") as file:
        return [re.search(r"^%s='(.*)'$" % name, file_text, re.M).group(1)
                for file_text in [file.read()] for name in ("INCIDENTS_URL", "INCIDENTS_TOKEN", "DATABASE_URL")]
