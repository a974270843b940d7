"""Rule spectral_fit: a network in, the law of its singular values out."""

from prunery.job import current
from prunery.spectral_fit import spectral_fit

job = current()
job.save_findings(spectral_fit(job.method, job.checkpoint("network")))
