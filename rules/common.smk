# The only helpers of the rules; what they do lives in prunery/workflow.py, where it is tested.

import os
from pathlib import Path

from prunery.complaints import (
    checked,
    report_mistakes,
    shorten,
    tell_absent,
    tell_set_aside,
)
from prunery.running import (
    lift_rate_limit,
    set_environment,
    start_run,
    tell_failures,
)
from prunery.workflow import Workflow

for path in workflow.overwrite_configfiles:
    checked(path)
with report_mistakes():
    study = Workflow(config, Path(workflow.basedir) / "scripts")
    if workflow.is_main_process:
        tell_set_aside(study.registry)
        tell_absent(study)
        start_run(os.getpid())

shorten(study)
ROOT = study.root

# How a job's process is started: prunery/launch.py decides. The command holds no path of this machine, so a checkout that
# was moved reruns nothing.
set_environment(
    study.scripts, study.imports, os.getpid() if workflow.is_main_process else None
)
RUN = (
    '"$PRUNERY_PYTHON" -I -S "$PRUNERY_LAUNCH" --job {params.job:q} --files {params.files:q}'
    " --log {log:q} --threads {threads}"
)


wildcard_constraints:
    **study.constraints,
