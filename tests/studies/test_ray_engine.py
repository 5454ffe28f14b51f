"""Jobs on Ray: the same results, losses are made good, and nobody else can hear."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from heldout.check import InputError
from heldout.studies.engine import InlineEngine
from heldout.studies.failures import JobFailed
from heldout.studies.ray_cluster import end_orphans
from heldout.studies.ray_engine import RayEngine
from heldout.studies.together import train_together
from tests.studies.test_together import little_fit, same

pytestmark = pytest.mark.skipif(
    find_spec("ray") is None, reason="ray is not installed: pip install 'heldout[ray]'"
)


def square(context, job, report):
    report({"job": job})
    return float(context[job]) ** 2


def slow(context, job, report):
    report({"process": os.getpid()})
    time.sleep(1.0 if job == 0 else 0.01)
    return job


def dies(context, job, report):
    """The first time, by a file that the context names."""
    mark = Path(context) / f"seen-{job}"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def always_dies(context, job, report):
    if job == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def refuses(context, job, report):
    raise InputError(f"job {job} has no rows")


@pytest.fixture(scope="module")
def engine():
    with RayEngine(2).kept() as held:
        yield held


def test_results_are_those_of_one_process(engine):
    context, told = np.random.default_rng(0).normal(size=20), {}
    found = dict(engine.run(square, range(20), context, told.__setitem__))
    assert found == dict(InlineEngine().run(square, range(20), context))
    assert all(said == {"job": index} for index, said in told.items())


def test_a_job_whose_worker_was_killed_is_run_again(engine, tmp_path):
    assert dict(engine.run(dies, range(3), str(tmp_path))) == {0: 0, 1: 1, 2: 2}


def test_a_job_that_takes_its_worker_along_is_given_up_after_the_others(engine):
    results = engine.run(always_dies, range(4), None)
    assert {next(results) for _ in range(3)} == {(0, 0), (2, 2), (3, 3)}
    with pytest.raises(JobFailed, match=r"lost 3 times .*job 1"):
        next(results)


def test_what_a_task_raises_comes_back(engine):
    with pytest.raises(InputError, match="job 0 has no rows"):
        list(engine.run(refuses, range(1), None))


def test_progress_arrives_while_a_job_runs(engine):
    told = []
    list(engine.run(slow, range(2), None, lambda index, said: told.append((index, set(said)))))
    assert (0, {"process"}) in told


def test_workers_that_wait_for_each_other_have_their_cpus_together(engine):
    with engine.reserved(5) as world:
        assert world == 2
        assert dict(engine.run(square, range(4), np.ones(4))) == dict(
            InlineEngine().run(square, range(4), np.ones(4))
        )
    assert dict(engine.run(square, range(2), np.ones(2)))


def test_one_model_is_trained_by_two_workers_as_by_one(engine, tmp_path):
    fit = little_fit(tmp_path)
    alone, _ = train_together(fit, 1, InlineEngine())
    two, _ = train_together(replace(fit, checkpoint=tmp_path / "two"), 2, engine)
    same(alone, two, 1e-4)


def listening():
    """Addresses on which processes of this user listen, as the kernel has them: hexadecimal, low byte first."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                found.add((fields[1].rsplit(":", 1)[0], fields[9]))
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc to see who listens")
def test_it_listens_on_the_loopback_interface_only_and_goes_without_a_trace():
    code = (
        "import tests.studies.test_ray_engine as t, tempfile, json, stat; from pathlib import Path; before = t.listening();"
        "from heldout.studies.ray_engine import RayEngine\n"
        "with RayEngine(1).kept() as engine:\n"
        "    list(engine.run(t.square, range(2), [1.0, 2.0])); new = t.listening() - before\n"
        "    (folder,) = [f for f in Path(tempfile.gettempdir()).glob('heldout-ray-*') if (f / 'owner').read_text() == str(t.os.getpid())]\n"
        "    modes = [stat.S_IMODE((folder / name).stat().st_mode) for name in ('', 'token')]\n"
        "print(json.dumps([sorted({address for address, _ in new}), modes, folder.exists()]))\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    addresses, modes, left = json.loads(shown.stdout.splitlines()[-1])
    assert addresses
    assert set(addresses) <= {
        "0100007F",
        "0000000000000000FFFF00000100007F",
        "00000000000000000000000001000000",
    }
    assert modes == [0o700, 0o600]
    assert not left


def environments():
    """What all processes were started with, as far as it may be read."""
    for place in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            yield place.read_bytes()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to see what runs")
def test_what_a_killed_driver_left_is_ended_by_the_next():
    code = (
        "from heldout.studies.ray_cluster import open_ray; import os, time\n"
        "with open_ray(workers=1):\n"
        "    print(os.path.dirname(os.environ['RAY_AUTH_TOKEN_PATH']), flush=True); time.sleep(100)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as driver:
        folder = driver.stdout.readline().strip()
        driver.kill()
    assert any(folder.encode() in said for said in environments())
    end_orphans()
    time.sleep(0.5)
    assert not any(folder.encode() in said for said in environments())
    assert not Path(folder).exists()


def connect(address, **environment):
    """What a process says that connects to a cluster."""
    code = (
        "import sys; from heldout.studies.ray_engine import RayEngine\n"
        "with RayEngine(99, address=sys.argv[1]).kept() as engine: print('connected to', engine.workers, 'CPUs')"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    shown = subprocess.run(
        [sys.executable, "-c", code, address],
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return shown.stdout + shown.stderr


def test_a_cluster_is_opened_by_its_token_alone_and_no_more_workers_are_asked_for_than_it_has(engine):
    address = sys.modules["ray"].get_runtime_context().gcs_address
    loopback = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    said = connect(address, RAY_AUTH_TOKEN_PATH=os.environ["RAY_AUTH_TOKEN_PATH"], **loopback)
    assert "connected to 2 CPUs" in said
    said = connect(address, RAY_AUTH_TOKEN="0" * 64, **loopback)
    assert "cannot be used" in said
    assert "connected" not in said


def test_a_cluster_that_takes_strangers_is_refused():
    code = (
        "import ray, time; ray.init(address='local', num_cpus=1, include_dashboard=False, configure_logging=False, log_to_driver=False);"
        "print(ray.get_runtime_context().gcs_address, flush=True); time.sleep(100)"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    open_to_all = kept | {
        "RAY_AUTH_MODE": "disabled",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    with subprocess.Popen(
        [sys.executable, "-c", code], env=open_to_all, stdout=subprocess.PIPE, text=True
    ) as driver:
        said = connect(driver.stdout.readline().strip(), RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0")
        driver.terminate()
    assert "takes commands from anybody" in said
    assert "connected" not in said
