# Trains the parent network to follow a teacher, its masks frozen.


rule distill:
    input:
        parent=f"{ROOT}/{{parent}}/model.json",
        teacher=study.teacher,
        data=study.data,
    output:
        network=f"{ROOT}/{{parent}}/distill={{distill}}/model.json",
        history=f"{ROOT}/{{parent}}/distill={{distill}}/history.json",
    log:
        f"logs/{ROOT}/{{parent}}/distill={{distill}}/distill.log",
    conda:
        "../envs/cpu.yaml"
    threads: study.threads("distill")
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
    params:
        job=study.job("distill"),
        files=study.files,
    shell:
        RUN
