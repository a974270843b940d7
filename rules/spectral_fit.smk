# Fits a law to the singular values of every weight matrix of a network.


rule spectral_fit:
    input:
        network=f"{ROOT}/{{folder}}/model.json",
    output:
        measured=f"{ROOT}/{{folder}}/spectral_fit={{spectral_fit}}.json",
    log:
        f"logs/{ROOT}/{{folder}}/spectral_fit={{spectral_fit}}.log",
    conda:
        "../envs/cpu.yaml"
    threads: study.threads("spectral_fit")
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
    params:
        job=study.job("spectral_fit"),
        files=study.files,
    shell:
        RUN
