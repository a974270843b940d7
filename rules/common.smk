# The only helpers of the rules; what they do lives in prunery/workflow.py, where it is tested.

import os
import shlex
import sys
from pathlib import Path

from prunery.errors import PruneryError
from prunery.workflow import Workflow, report_mistakes

HERE = Path(workflow.basedir)

with report_mistakes():
    study = Workflow(config, HERE / "scripts")

ROOT = study.root
SCRIPTS = str(HERE / "scripts")

# How a job's process is started: see prunery/launch.py. The template below is the same everywhere, so that a moved
# checkout reruns nothing.
LAUNCH = shlex.join([sys.executable, "-I", "-S", str(study.launcher)])
RUN = "{LAUNCH} {rule} --scripts {SCRIPTS:q} --job {params.job:q}"
RUN += " --files {params.files:q} --log {log:q} --threads {threads}"

if workflow.is_main_process:
    os.environ["PRUNERY_RUN"] = str(os.getpid())
    os.environ["PRUNERY_IMPORTS"] = " ".join(study.imports)


wildcard_constraints:
    **study.constraints,
