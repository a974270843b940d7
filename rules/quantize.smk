# Turns the weights of the parent network into integers.


rule quantize:
    input:
        parent=f"{ROOT}/{{parent}}/model.json",
        measured=study.measured("quantize"),
    output:
        network=f"{ROOT}/{{parent}}/quantize={{quantize}}/model.json",
    log:
        f"logs/{ROOT}/{{parent}}/quantize={{quantize}}/quantize.log",
    conda:
        "../envs/cpu.yaml"
    threads: study.threads("quantize")
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
    params:
        job=study.job("quantize"),
        files=study.files,
    shell:
        RUN
