"""Rule train: data in, one fresh network per seed out."""

from prunery.checkpoint import Origin
from prunery.job import current
from prunery.train import train

job = current()
dataset = job.dataset()
origin = Origin(*job.architecture.origin(), dataset.spec)
checkpoint, history = train(job.method, job.architecture, origin, dataset, job.seeds, job.progress)
job.save_json("history", history)
job.save(checkpoint)
