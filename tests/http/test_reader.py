"""RequestReader: what comes is split into requests, and what two programs could understand differently is refused."""

import pytest
from raftkv.http.web.head import HttpError
from raftkv.http.web.limits import MAX_HEAD, MAX_TARGET
from raftkv.http.web.reader import RequestReader

GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def read_all(data, piece=None):
    """[(method, path, body), ...] of what is complete."""
    reader, found = RequestReader(), []
    head, body = None, b""
    for at in range(0, len(data), piece or len(data)):
        reader.feed(data[at : at + (piece or len(data))])
        while True:
            if head is None:
                head, body = reader.head(), b""
                if head is None:
                    break
            body += reader.body()
            if not reader.is_complete:
                break
            found.append((head.method, head.path, body))
            head = None
    return found


@pytest.mark.parametrize("piece", [None, 1, 7])
def test_pipelined_requests_are_told_apart_however_they_are_cut(piece):
    post = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    chunks = CHUNKED + b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n"
    assert read_all(GET + post + chunks + GET, piece) == [
        ("GET", "/a", b""),
        ("POST", "/p", b"abc"),
        ("POST", "/", b"abcdefg"),
        ("GET", "/a", b""),
    ]


def request(*lines, first=b"POST / HTTP/1.1"):
    return b"\r\n".join([first, *lines, b"", b""])


HOST = b"Host: x"
REFUSED = {
    "two lengths": (400, request(HOST, b"Content-Length: 1", b"Content-Length: 2")),
    "two equal lengths": (400, request(HOST, b"Content-Length: 1", b"Content-Length: 1")),
    "lengths in one field": (400, request(HOST, b"Content-Length: 1, 1")),
    "length and chunks": (400, request(HOST, b"Content-Length: 1", b"Transfer-Encoding: chunked")),
    "chunks twice": (400, request(HOST, b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")),
    "unknown coding": (501, request(HOST, b"Transfer-Encoding: gzip, chunked")),
    "coding with a tab before": (400, request(HOST, b"Transfer-Encoding\t: chunked")),
    "chunks in HTTP/1.0": (400, request(HOST, b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.0")),
    "negative length": (400, request(HOST, b"Content-Length: -1")),
    "length with a sign": (400, request(HOST, b"Content-Length: +1")),
    "length in hexadecimal": (400, request(HOST, b"Content-Length: 0x10")),
    "huge length": (400, request(HOST, b"Content-Length: " + b"9" * 30)),
    "bare CR": (400, request(HOST, b"A: b\rContent-Length: 3")),
    "bare LF": (400, b"GET / HTTP/1.1\nHost: x\n\n"),
    "bare LF in a field": (400, request(HOST, b"A: b\nContent-Length: 3")),
    "NUL": (400, request(HOST, b"A: b\0c")),
    "folded line": (400, request(HOST, b"A: b", b" c")),
    "space before the colon": (400, request(HOST, b"Content-Length : 3")),
    "no colon": (400, request(HOST, b"Content-Length 3")),
    "no name": (400, request(HOST, b": 3")),
    "no Host": (400, request()),
    "two Hosts": (400, request(HOST, HOST)),
    "Host with a path": (400, request(b"Host: x/y")),
    "Host with a user": (400, request(b"Host: u@x")),
    "no target": (400, request(HOST, first=b"GET HTTP/1.1")),
    "target that is no path": (400, request(HOST, first=b"GET x HTTP/1.1")),
    "HTTP/2": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "HTTP/0.9": (400, b"GET /\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    "unknown expectation": (417, request(HOST, b"Expect: something")),
    "too many fields": (431, request(HOST, *[b"A: b"] * 200)),
    "long target": (414, request(HOST, first=b"GET /" + b"a" * MAX_TARGET + b" HTTP/1.1")),
    "endless target": (414, b"GET /" + b"a" * (MAX_TARGET + 10)),
    "endless head": (431, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (MAX_HEAD // 6 + 1)),
    "chunk size that is none": (400, CHUNKED + b"x\r\n"),
    "chunk size with a sign": (400, CHUNKED + b"-1\r\n"),
    "chunk size that is huge": (400, CHUNKED + b"fffffffff\r\n"),
    "chunk longer than its size": (400, CHUNKED + b"1\r\nab\r\n"),
    "chunk line with a bare LF": (400, CHUNKED + b"1\na\n"),
    "endless chunk line": (400, CHUNKED + b"1;" + b"a" * 1000),
    "endless trailers": (431, CHUNKED + b"0\r\n" + b"A: b\r\n" * (MAX_HEAD // 3)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_ambiguous_or_endless_request_is_refused(name):
    status, data = REFUSED[name]
    with pytest.raises(HttpError) as refusal:
        read_all(data)
    assert refusal.value.status == status


def test_reader_keeps_no_more_than_an_unfinished_head():
    reader = RequestReader()
    with pytest.raises(HttpError):
        for _ in range(100_000):
            reader.feed(b"A-Field: with a value\r\n")
            reader.head()
    assert len(reader) < 2 * MAX_HEAD


def test_absolute_target_names_the_host():
    reader = RequestReader()
    reader.feed(b"GET http://other:80/x%20y?q HTTP/1.1\r\nHost: x\r\n\r\n")
    head = reader.head()
    assert (head.host, head.path, head.query) == ("other:80", "/x y", "q")
