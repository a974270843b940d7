"""Rule prune: a network and its measurements in, the same network with masks, or without some channels, out."""

from prunery.job import current
from prunery.prune import prune

job = current()
parent = job.checkpoint("parent")
job.save_child(parent, prune(job.method, parent, job.measured()))
