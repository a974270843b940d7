"""Rule bench: a network and its dense ancestor in, their times on real backends out."""

from prunery.bench import bench
from prunery.job import current

job = current()
networks = job.checkpoint("network"), job.checkpoint("dense")
job.save_json("measured", bench(job.method, *networks, job.dataset(), job.backends(), job.progress))
