"""Rule evaluate: a network, its dense ancestor and data in, accuracies and sizes out."""

from prunery.evaluate import evaluate
from prunery.job import current

job = current()
figures = evaluate(job.method, job.checkpoint("network"), job.checkpoint("dense"), job.dataset())
job.save_json("measured", figures)
