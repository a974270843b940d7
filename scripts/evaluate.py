"""Rule evaluate: a network, its dense ancestor, its teacher if it had one, and data in, accuracies and sizes out."""

from prunery.evaluate import evaluate
from prunery.job import current

job = current()
networks = job.checkpoint("network"), job.checkpoint("dense")
teacher = job.checkpoint("teacher") if job.paths("teacher") else None
figures = evaluate(job.method, *networks, job.dataset(), job.path("network").parent, teacher)
job.save_evaluation(figures)
