"""Rule data: a source's files in, one file of tensors out."""

from prunery.data import save_dataset
from prunery.datafolder import data_folder
from prunery.job import current

job = current()
dataset = job.method.load(data_folder(job.told["data_folder"]))
save_dataset(dataset, job.output("data"))
