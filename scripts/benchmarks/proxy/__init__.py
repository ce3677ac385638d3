"""Measures the proxy beside nginx, haproxy, configurable-http-proxy and traefik. Needs no cluster, no Slurm and no root.

`scripts/bench proxy` calls `commands.main`. Every proxy is one process (nginx: a master and one worker) on one core;
backend and load tool are on another. All of it on 127.0.0.1, on ports that were free.

    commands    the command line
    run         rounds: every case visits every target in turn, in rotated order
    cases       what is measured, and the bars it is held against
    report      medians, ratios, the tables
    proof       before anything is measured: does the load tool see a lie, is the cookie asked for

    peers       nginx, haproxy, configurable-http-proxy and traefik: their settings, and where they come from
    target      our own proxy as a small program: the real cookie check, in-memory servers; run as a process
    backend     what stands in for the user's Jupyter; run as a process
    stage       certificates, backends and proxies of one run: started, known, ended
    processes   one program: pinned to a core, waited for, ended by its pid
    cpu         CPU and memory of a process and its children, as the kernel counts them
    quiet       were others in the way meanwhile; one run at a time

    load        the load tool; run as a process for each single measurement, prints JSON
    window      the measured time, in the load tool
    heads       request heads as a browser makes them
    content     what is sent and must arrive
    answers     takes answers apart and compares them with what must come
    crowd       the connections of one load
    exchanges   loads: requests on open connections
    connects    loads: a new connection (and TLS handshake) for each request
    bulk        loads: 100 MB down and up; a small request beside paced downloads
    websockets  loads: echoes; idle sockets

Only answers that are complete and right count. Whatever else comes is counted as an error and shown.
"""
