"""Rule finetune: a network and data in, the network trained further out, masks frozen."""

from prunery.finetune import finetune
from prunery.job import current

job = current()
parent = job.checkpoint("parent")
replicas, outcome = finetune(job.method, parent, job.dataset(), job.progress)
job.save_json("history", outcome.history)
job.save_child(parent, replicas, outcome.provenance)
