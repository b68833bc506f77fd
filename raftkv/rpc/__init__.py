"""Remote calls: pickled plain data in the frames of multiprocessing.connection.

**On the wire.** A server is a `multiprocessing.connection.Listener`, so any Python can talk to one::

    from multiprocessing.connection import Client
    conn = Client(("127.0.0.1", 9001), authkey=open("client.key", "rb").read())
    conn.send((1, "ping", ()))          # (id, method, args)
    assert conn.recv() == (1, True, "pong")     # (id, ok, result)

Many requests may be under way on one connection, and the replies come in any order: the id says which is
which. A request with the id None gets no reply. When `ok` is False, the result is (code, message, detail),
with a code of `raftkv.errors`. Arguments and results are plain data: None, bool, int, float, str, bytes,
tuple, list, dict.

**A server** is an RpcServer and a handler for each of its listeners::

    class Echo:
        def on_requests(self, batch):   # all requests of one turn of the server's loop
            send_replies([(channel, id, True, args) for channel, id, method, args in batch if id is not None])
        def on_close(self, channel): ...

    server = RpcServer()
    address = server.listen(("127.0.0.1", 0), key, Echo(), max_frame_bytes=1 << 20, max_connections=2048,
                            max_unauthenticated=128, handshake_timeout_s=5.0)
    server.start()

One thread reads all connections and hands over what a turn brought as one batch; replies are sent by
whoever has them, whenever that is, one write a connection. Nobody waits for a peer: not accepting (another
thread lets connections in, and drives all handshakes), not reading, not writing. Who comes when there are
`max_connections` is answered so, and closed.

**A client** is a ClientEnd (after the `ClientEnd` of MIT's course 6.824)::

    end = ClientEnd(address, key)
    end.call("echo", (1, 2), timeout_s=5.0)             # -> (1, 2)
    future = end.submit("echo", ("a",), timeout_s=5.0)  # many of these in flight
    end.close()

It connects when it is needed, and again when the connection is lost, with a capped and jittered backoff; a
server that went away without a word is noticed by a ping. What was lost is not repeated: that is for those
to decide who know whether a request may be carried out twice. ConnectionLostError and CallTimeoutError say
by `.sent` whether the request can have reached the server at all.

**A stream** is a request with many replies. A server sends as many as it wants under the id of the request; a refusal
ends it. A client has them come to a Call that says `streams`. How much a server may send before the client has taken it
is for the two to agree: see kvdb/watch_requests.py.

**Who may talk, and what a stranger can do.** Both sides prove that they hold the listener's key before
anything else is read (HMAC challenges of the standard library). Each listener has its own key and its own
handler. After that a peer is still not believed: frames have a size limit that holds before anything is
kept, pickles may hold nothing but plain data (wire.py says what else is dangerous in a pickle), connections
are bounded in number, unread replies in bytes, half-sent frames in time. Whoever breaks a rule is logged in
one line, and closed.

**What this layer does not do.** It does not encrypt, and does not authenticate each message: who can change
packets on the way can do all that the connection's owner can. Use a private network, or a tunnel. It does
not find servers, choose between them, retry, or know which requests are harmless to repeat.

The files, from the bottom up: wire.py (frames and pickles), handshake.py (connecting and proving),
waker.py, complaints.py (log lines); then for a server challenge.py (its half of the handshake), door.py,
acceptor.py, channel.py, handler.py, port.py, relay.py (two threads, one loop), server.py; and for a client
future.py, calls.py, resolve.py (names), dial.py (connecting), connector.py (one attempt after the other),
link.py (a connection), lane.py (one that is lent to a lone caller), reading.py (who reads a connection),
exchange.py (requests out, replies in), keeper.py (the thread), client.py.
"""
