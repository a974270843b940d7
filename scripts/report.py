"""Rule report: every result file in, one page out."""

from pathlib import Path

from prunery.job import current
from prunery.report import write_report

job = current()
results, claims = job.paths("results"), job.paths("claims")
page, profile = job.output("page"), job.told["profile"]
print(write_report(job.told["title"], Path(job.told["root"]), results, claims, page, profile))
