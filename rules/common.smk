# The only helpers of the rules; what they do lives in prunery/workflow.py, where it is tested.

import os
from pathlib import Path

from prunery.workflow import Workflow, report_mistakes

with report_mistakes():
    study = Workflow(config, Path(workflow.basedir) / "scripts")

ROOT = study.root

# How a job's process is started: prunery/launch.py decides. The command holds no path of this machine, so a checkout that
# was moved reruns nothing.
study.set_environment(os.getpid() if workflow.is_main_process else None)
RUN = (
    '"$PRUNERY_PYTHON" -I -S "$PRUNERY_LAUNCH" --job {params.job:q} --files {params.files:q}'
    " --log {log:q} --threads {threads}"
)


wildcard_constraints:
    **study.constraints,
