# Writes the page, the table and the ledger of claims.


rule report:
    input:
        results=study.wanted,
        claims=study.claims,
    output:
        page=study.report,
        table=f"{ROOT}/table.csv",
        claims=f"{ROOT}/claims.json",
    log:
        f"logs/{ROOT}/report.log",
    conda:
        "../envs/cpu.yaml"
    threads: study.threads("report")
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
    params:
        job=study.report_job(),
        files=study.files,
    shell:
        RUN
