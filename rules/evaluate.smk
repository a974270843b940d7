# Measures accuracy, agreement with the dense network, and sizes.


rule evaluate:
    input:
        network=f"{ROOT}/{{folder}}/model.json",
        dense=study.dense,
        data=study.data,
    output:
        measured=f"{ROOT}/{{folder}}/evaluate={{evaluate}}.json",
    log:
        f"logs/{ROOT}/{{folder}}/evaluate={{evaluate}}.log",
    params:
        job=study.job("evaluate"),
        files=study.files,
    threads: study.threads("evaluate")
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
    conda:
        "../envs/cpu.yaml"
    shell:
        RUN
