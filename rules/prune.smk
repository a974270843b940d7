# Masks weights of the parent network, removes channels from it, or changes what it computes.


rule prune:
    input:
        parent=f"{ROOT}/{{parent}}/model.json",
        measured=study.measured("prune"),
        dense=study.restored,
        data=study.tried,
    output:
        network=f"{ROOT}/{{parent}}/prune={{prune}}/model.json",
    log:
        f"logs/{ROOT}/{{parent}}/prune={{prune}}/prune.log",
    conda:
        "../envs/cpu.yaml"
    threads: study.threads("prune")
    resources:
        mem_mb=6000,
        runtime=240,
        gpu=0,
    params:
        job=study.job("prune"),
        files=study.files,
    shell:
        RUN
