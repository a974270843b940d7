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
    # Long jobs first, or the last of them runs alone.
    priority: 1
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


# Bases of a grid that are trained together: as above, with the checkpoints of all of them for outputs.
for batch in study.together:

    rule:
        name:
            batch.rule
        input:
            data=batch.data,
            weights=batch.weights,
        output:
            network=batch.networks,
            history=batch.histories,
        log:
            batch.log,
        priority: 2
        conda:
            "../envs/cpu.yaml"
        threads: study.threads("train")
        resources:
            mem_mb=4000,
            runtime=240,
            gpu=0,
        params:
            job=batch.job,
            files=study.files,
        shell:
            RUN


if study.together:
    workflow.ruleorder(*(batch.rule for batch in study.together), "train")
