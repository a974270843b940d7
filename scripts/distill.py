"""Rule distill: a student, its teacher and data in, the taught student out, masks frozen."""

from prunery.distill import distill
from prunery.job import current

job = current()
parent = job.checkpoint("parent")
replicas, outcome = distill(job.method, parent, job.checkpoint("teacher"), job.dataset(), job.progress)
job.save_json("history", outcome.history)
job.save_child(parent, replicas, outcome.provenance)
