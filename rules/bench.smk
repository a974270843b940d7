# Times a network beside its dense ancestor on real backends.


rule bench:
    input:
        network=f"{ROOT}/{{folder}}/model.json",
        dense=study.dense,
        data=study.data,
    output:
        measured=f"{ROOT}/{{folder}}/bench={{bench}}.json",
    log:
        f"logs/{ROOT}/{{folder}}/bench={{bench}}.log",
    conda:
        "../envs/cpu.yaml"
    threads: workflow.cores  # alone on the machine: its times are the result
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
    params:
        job=study.job("bench"),
        files=study.files,
    shell:
        RUN
