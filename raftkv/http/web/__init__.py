"""HTTP/1.1 for servers: one thread, any number of connections.

    limits.py          how much, and how long, a client may take
    head.py            the head of a request, checked
    reader.py          RequestReader: requests out of bytes, without I/O
    answers.py         the bytes of answers
    exchange.py        Exchange: one request and its answer; and what answers it
    outbox.py          Outbox: what a client has not taken yet
    connection.py      Connection: one client
    open_files.py      how many connections the system allows
    server.py          HttpServer: the thread

Why not `http.server`: it has a thread a connection, which thousands of idle watches would be too many of, takes what two programs
could understand differently, and bounds neither times nor the sum of what it holds.
"""
