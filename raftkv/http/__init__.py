"""The HTTP front: etcd's JSON API, in a process of its own, so that parsing HTTP never holds up a heartbeat.

    web/               HTTP/1.1: connections, requests, answers; it knows nothing of etcd
    etcd/              the calls of etcd's API: messages, their JSON, and what they do to the database
    guard.py           which requests are let in at all: names of this server, no other sites
    password.py        the password, and tokens for it
    view.py            what is known of the cluster, for headers, status and health
    requests.py        what calls want done, carried out by a Clerk
    together.py        what came in one turn, as few operations
    workers.py         a few threads for what has to wait
    handlers.py        calls over HTTP
    watch_stream.py    watches
    plain.py           /version, /health, /livez, /readyz, /metrics
    metrics.py         /metrics
    page.py            the page for people, page.html, and its events
    front.py           Front: all of that wired together

A request goes this way: `web` reads it, Front finds its handler, the handler makes a message of the JSON and runs the call,
which yields operations; the Clerk carries them out, and the answer goes back the same way. All of it but the Clerk runs on one
thread, which waits for nothing but its connections: thousands may be idle or slow.

What this layer does not do: encryption (TLS), HTTP/2, gRPC.
"""
