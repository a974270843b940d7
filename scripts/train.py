"""Rule train: data in, one fresh network per seed out, of one shape or of several."""

from prunery.checkpoint import Origin
from prunery.job import current
from prunery.train import train_shapes

job = current()
dataset = job.dataset()
shapes = [(architecture, Origin(*architecture.origin(), dataset.spec)) for architecture in job.architectures]
job.save_trained(train_shapes(job.method, shapes, dataset, job.seeds, job.progress))
