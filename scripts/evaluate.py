"""Rule evaluate: a network, its dense ancestor and data in, accuracies and sizes out."""

from prunery.evaluate import evaluate
from prunery.job import current

job = current()
networks = job.checkpoint("network"), job.checkpoint("dense")
figures = evaluate(job.method, *networks, job.dataset(), job.path("network").parent)
job.save_evaluation(figures)
