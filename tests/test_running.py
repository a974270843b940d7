"""What surrounds a run, without one."""

from types import SimpleNamespace

import pytest

from prunery.running import lift_rate_limit


@pytest.mark.parametrize(("here", "limited"), [(True, False), (False, True)])
def test_the_limit_of_job_starts_is_lifted_on_this_machine_only(here, limited):
    workflow = SimpleNamespace(local_exec=here, scheduler=SimpleNamespace(job_rate_limiter=object()))
    lift_rate_limit(workflow)
    assert (workflow.scheduler.job_rate_limiter is not None) == limited


def test_snakemake_has_such_a_limit_still():
    from snakemake.scheduling.job_scheduler import JobScheduler

    assert "job_rate_limiter" in JobScheduler.__init__.__code__.co_names
