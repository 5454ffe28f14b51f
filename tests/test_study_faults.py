"""Kill a study's worker, then its driver: the result is that of a study that nobody disturbed. The long form is a benchmark."""

import psutil
import pytest
from benchmarks.study_faults import (
    OPTIONS,
    begun_again,
    driver,
    n_finished,
    serial,
    wait_for,
    workers_of,
    write_table,
)


@pytest.mark.slow
def test_signal_9_at_a_worker_and_at_the_driver_changes_no_number_and_repeats_no_fit(tmp_path):
    kind, table, out = "reduce", tmp_path / "table.csv", tmp_path / "killed"
    options = OPTIONS | {"n_folds": 2, "hidden_size": 4, "n_seeds": 1}
    write_table(table)
    expected = serial(kind, table, tmp_path / "whole", options)
    with driver(kind, table, out, options) as process:
        assert wait_for(lambda: n_finished(out) > 3 and len(workers_of(process)) == 2, process)
        workers_of(process)[0].kill()
        before = n_finished(out)
        assert wait_for(lambda: n_finished(out) > before, process)
        workers = workers_of(process)
        process.kill()
    done, left = n_finished(out), psutil.wait_procs(workers, timeout=30)[1]
    assert not left
    assert not (out / "scores.json").exists()
    assert serial(kind, table, out, options) == expected
    assert n_finished(out) == n_finished(tmp_path / "whole") > done
    assert begun_again(out) == []
