# Trains the parent network further, its masks frozen.


rule finetune:
    input:
        parent=f"{ROOT}/{{parent}}/model.json",
        data=study.data,
    output:
        network=f"{ROOT}/{{parent}}/finetune={{finetune}}/model.json",
        history=f"{ROOT}/{{parent}}/finetune={{finetune}}/history.json",
    log:
        f"logs/{ROOT}/{{parent}}/finetune={{finetune}}/finetune.log",
    conda:
        "../envs/cpu.yaml"
    threads: study.threads("finetune")
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
    params:
        job=study.job("finetune"),
        files=study.files,
    shell:
        RUN
