# Trains the networks of a base, one per seed: the shortest recipe of all.


rule train:
    input:
        data=study.data,
        weights=study.weights,
    output:
        network=f"{ROOT}/{{base}}/seeds={{seeds}}/model.json",
        history=f"{ROOT}/{{base}}/seeds={{seeds}}/history.json",
    log:
        f"logs/{ROOT}/{{base}}/seeds={{seeds}}/train.log",
    conda:
        "../envs/cpu.yaml"
    threads: study.threads("train")
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
    params:
        job=study.job("train"),
        files=study.files,
    shell:
        RUN
