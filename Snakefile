# Prunery: every network on the way from a trained one to a small and fast one is a file.
# Run from this folder: `snakemake --cores all`, or with a study of one's own: `snakemake --cores 2 --configfile my.yaml`.

from prunery.complaints import checked
from snakemake.utils import min_version

min_version("9.14")


if not workflow.overwrite_configfiles:

    configfile: checked("config.yaml")


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/calibrate.smk"
include: "rules/spectral_fit.smk"
include: "rules/prune.smk"
include: "rules/finetune.smk"
include: "rules/distill.smk"
include: "rules/quantize.smk"
include: "rules/evaluate.smk"
include: "rules/bench.smk"
include: "rules/analyse.smk"
include: "rules/report.smk"


onstart:
    lift_rate_limit(workflow)


onerror:
    tell_failures(os.getpid())


rule all:
    default_target: True
    input:
        rules.report.output,
        study.wanted,  # named here too: Snakemake misses a deleted file only if it was asked for
