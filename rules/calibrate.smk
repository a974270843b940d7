# Measures activations or gradients of a network over data.


rule calibrate:
    input:
        network=f"{ROOT}/{{folder}}/model.json",
        data=study.data,
    output:
        measured=f"{ROOT}/{{folder}}/calibrate={{calibrate}}.safetensors",
    log:
        f"logs/{ROOT}/{{folder}}/calibrate={{calibrate}}.log",
    conda:
        "../envs/cpu.yaml"
    threads: study.threads("calibrate")
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
    params:
        job=study.job("calibrate"),
        files=study.files,
    shell:
        RUN
