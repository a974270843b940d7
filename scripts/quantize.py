"""Rule quantize: a network and its calibration in, the network in integers out."""

from prunery.job import current
from prunery.quantize import quantize

job = current()
parent = job.checkpoint("parent")
job.save_child(parent, quantize(job.method, parent, job.measured()))
