# Masks weights of the parent network, or removes channels from it.


rule prune:
    input:
        parent=f"{ROOT}/{{parent}}/model.json",
        measured=study.measured("prune"),
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
