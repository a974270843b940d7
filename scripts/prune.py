"""Rule prune: a network and its measurements in, the same network with masks, or smaller, out."""

from prunery.contract import Selector
from prunery.job import current
from prunery.prune import prune

job = current()
parent = job.checkpoint("parent")
if isinstance(job.method, Selector):
    from prunery.selecting import select

    job.save_child(parent, select(job.method, parent, job.dataset(), job.measured(), job.progress))
else:
    dense = job.checkpoint("dense") if job.paths("dense") else None
    job.save_child(parent, prune(job.method, parent, job.measured(), dense))
