# Reads a data set once: three fixed splits, as tensors.


rule data:
    input:
        files=study.data_files,
    output:
        data=f"{ROOT}/data={{data}}.safetensors",
    log:
        f"logs/{ROOT}/data={{data}}.log",
    conda:
        "../envs/cpu.yaml"
    threads: study.threads("data")
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
    params:
        job=study.job("data"),
        files=study.files,
    shell:
        RUN
