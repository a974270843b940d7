"""Rule distill: a student, its teacher if it has one, and data in, the taught student out, masks frozen."""

from prunery.distill import distill
from prunery.job import current

job = current()
parent = job.checkpoint("parent")
teacher = job.checkpoint("teacher") if job.paths("teacher") else None
replicas, outcome = distill(job.method, parent, teacher, job.dataset(), job.progress)
job.save_json("history", outcome.history)
job.save_child(parent, replicas, outcome.provenance)
