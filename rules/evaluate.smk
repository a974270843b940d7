# Measures accuracy, agreement with the dense network and with a teacher, and sizes.


rule evaluate:
    input:
        network=f"{ROOT}/{{folder}}/model.json",
        dense=study.dense,
        teacher=study.compared,
        data=study.data,
    output:
        measured=f"{ROOT}/{{folder}}/evaluate={{evaluate}}.json",
    log:
        f"logs/{ROOT}/{{folder}}/evaluate={{evaluate}}.log",
    conda:
        "../envs/cpu.yaml"
    threads: study.threads("evaluate")
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
    params:
        job=study.job("evaluate"),
        files=study.files,
    shell:
        RUN
