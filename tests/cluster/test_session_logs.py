"""With JSON lines in the driver, a worker's lines are JSON too and say what they are about."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

DRIVER = """
import logging, sys
import ray
from gen_searcher.cluster.session import cluster_session
from gen_searcher.config.cluster import ClusterConfig
from gen_searcher.config.redaction import guard_process
from gen_searcher.metrics.log_fields import JsonLines, log_fields

guard_process()
handler = logging.StreamHandler(sys.stderr)
handler.setFormatter(JsonLines())
logging.basicConfig(level="INFO", handlers=[handler])


@ray.remote(num_cpus=0.01)
class Worker:
    def __init__(self):
        guard_process()

    def work(self):
        with log_fields(task="train-7", attempt=5):
            logging.getLogger("worker").info("works")


with cluster_session(ClusterConfig(cpus=1, object_store_mib=100), run_id="logs", command="replay"):
    with log_fields(step=4):
        logging.getLogger("driver").info("drives")
    ray.get(Worker.remote().work.remote())
    import time
    time.sleep(2)  # Ray forwards a worker's lines every so often
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_lines_of_driver_and_workers_are_json_with_their_fields() -> None:
    done = subprocess.run([sys.executable, "-c", DRIVER], capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    said = (done.stdout + done.stderr).splitlines()
    rows = [json.loads(line[line.index("{") :]) for line in said if '"message"' in line]
    (driver,) = [row for row in rows if row["message"] == "drives"]
    (worker,) = [row for row in rows if row["message"] == "works"]
    assert (driver["name"], driver["step"]) == ("driver", 4)
    assert (worker["name"], worker["task"], worker["attempt"]) == ("worker", "train-7", 5)
    assert worker["actor_id"]
