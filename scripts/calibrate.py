"""Rule calibrate: a network and data in, statistics of its activations or gradients out."""

from prunery.calibrate import calibrate
from prunery.job import current

job = current()
job.save_findings(calibrate(job.method, job.checkpoint("network"), job.dataset()))
