"""Rule analyse: the results of many recipes in, what they say together out."""

from pathlib import Path

from prunery.analyse import analyse
from prunery.job import current

job = current()
job.save_json("measured", analyse(job.method, Path(job.told["root"]), job.paths("results")))
