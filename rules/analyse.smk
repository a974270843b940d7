# Analyses the results of many recipes together.


rule analyse:
    input:
        results=study.analysed,
    output:
        measured=f"{ROOT}/analyse={{analyse}}.json",
    log:
        f"logs/{ROOT}/analyse={{analyse}}.log",
    conda:
        "../envs/cpu.yaml"
    threads: study.threads("analyse")
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
    params:
        job=study.job("analyse"),
        files=study.files,
    shell:
        RUN
