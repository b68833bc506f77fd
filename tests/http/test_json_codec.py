"""Messages from JSON and to JSON, as etcd's gateway has them."""

import time

import pytest
from raftkv.http.etcd import json_codec
from raftkv.http.etcd.documents import MAX_DOCUMENT, Documents
from raftkv.http.etcd.json_codec import JsonError
from raftkv.http.etcd.kv_messages import Header, KeyValue, PutRequest, RangeRequest, RangeResponse, TxnRequest
from raftkv.http.etcd.lease_messages import LeaseGrantRequest
from raftkv.http.etcd.maintenance_messages import AlarmMember, HashResponse
from raftkv.http.etcd.member_messages import MemberAddRequest
from raftkv.http.etcd.watch_messages import WatchRequest


@pytest.mark.parametrize(
    "text",
    [
        '{"key":"YQ==","range_end":"Yg==","limit":3,"sort_order":"DESCEND","keys_only":true}',
        '{"key":"YQ==","rangeEnd":"Yg==","limit":"3","sortOrder":2,"keysOnly":true,"unknown":{"x":[1]}}',
        ' {"keysOnly":true,"key":"YQ==","rangeEnd":"Yg==","limit":" 3\\n","sortOrder":2,"revision":null} trailing',
    ],
)
def test_names_numbers_and_enumerations_are_taken_in_each_spelling(text):
    assert json_codec.from_text(RangeRequest, text.encode()) == RangeRequest(
        b"a", b"b", 3, sort_order=2, keys_only=True
    )


@pytest.mark.parametrize("text", ["", "  ", "{}", "null"])
def test_empty_body_is_an_empty_message(text):
    assert json_codec.from_text(RangeRequest, text.encode()) == RangeRequest()


def test_numbers_of_64_bits_are_exact():
    assert json_codec.from_text(
        LeaseGrantRequest, b'{"ID":9007199254740993,"TTL":"9223372036854775807"}'
    ) == (LeaseGrantRequest(TTL=2**63 - 1, ID=2**53 + 1))


def test_zeros_are_left_out_and_numbers_of_64_bits_are_text():
    message = RangeResponse(Header(1, 2, 3), [KeyValue(b"\xff\x00", 1, 2, 3)], count=1)
    assert json_codec.to_text(message) == (
        '{"header":{"cluster_id":"1","member_id":"2","revision":"3"},'
        '"kvs":[{"key":"/wA=","create_revision":"1","mod_revision":"2","version":"3"}],"count":"1"}'
    )
    assert json_codec.to_text(HashResponse(Header(), 5)) == '{"header":{},"hash":5}'
    assert json_codec.to_text(AlarmMember(1, 1)) == '{"memberID":"1","alarm":"NOSPACE"}'


def test_member_of_a_oneof_is_there_also_if_it_is_empty():
    request = json_codec.from_text(TxnRequest, b'{"success":[{"request_put":{}},{"requestRange":null}]}')
    assert request.success[0].request_put == PutRequest()
    assert request.success[1].request_range is None


@pytest.mark.parametrize(
    "text",
    ["[]", '"x"', "{", '{"key":', "x", "{]", '{"key":1}', '{"key":"$%"}', '{"key":"Zg"}', '{"key":"Z-9_"}',
     '{"key":"YQ==="}', '{"limit":1.5}', '{"limit":"1.5"}', '{"limit":1e2}', '{"limit":"x"}', '{"limit":""}',
     '{"limit":9223372036854775808}', '{"limit":true}', '{"limit":NaN}', '{"limit":Infinity}', '{"limit":01}',
     '{"keys_only":"true"}', '{"keys_only":1}', '{"sort_order":"X"}', '{"sort_order":"1"}', '{"sort_order":[]}',
     "\ufeff{}", '{"key":"a\nb"}'],
)  # fmt: skip
def test_malformed_message_is_refused(text):
    with pytest.raises(JsonError):
        json_codec.from_text(RangeRequest, text.encode())


@pytest.mark.parametrize(
    ("kind", "text"),
    [(MemberAddRequest, b'{"peerURLs":[null]}'), (WatchRequest, b'{"create_request":{"filters":[null]}}')],
)
def test_null_in_a_list_is_refused(kind, text):
    with pytest.raises(JsonError):
        json_codec.from_text(kind, text)


@pytest.mark.parametrize(
    "text",
    [b'{"success":' * 100_000, b"[" * 1_000_000, b'{"compare":' + b"9" * 1_000_000 + b"}", b'{"key":"' + b"\xff" * 100_000,
     b'{"compare":[{}' + b",{}" * 1_000_000 + b"]}"],
    ids=["deep messages", "deep lists", "a huge number", "no UTF-8", "many messages"],
)  # fmt: skip
def test_hostile_json_is_refused_at_once(text):
    began = time.monotonic()
    with pytest.raises(JsonError):
        json_codec.from_text(TxnRequest, text)
    assert time.monotonic() - began < 2


def test_nested_messages_have_a_bound():
    text = b'{"success":[{"request_txn":' * 60 + b"{}" + b"}]}" * 60
    with pytest.raises(JsonError, match="depth"):
        json_codec.from_text(TxnRequest, text)


@pytest.mark.parametrize("piece", [1, 5, 1000])
def test_documents_are_found_however_they_are_cut(piece):
    text = ' {"a":"}{\\"é"} {"b":[{},{"c":"]"}]}\n{}'.encode()
    documents, found = Documents(), []
    for at in range(0, len(text), piece):
        found += documents.feed(text[at : at + piece], at + piece >= len(text))
    assert found == [{"a": '}{"é'}, {"b": [{}, {"c": "]"}]}, {}]


@pytest.mark.parametrize("text", [b"x", b'{"a":1}x', b'"x"', b"1"])
def test_broken_document_is_refused_before_its_end(text):
    with pytest.raises(JsonError):
        list(Documents().feed(text, False))


def test_documents_have_a_bound():
    documents = Documents()
    with pytest.raises(JsonError):
        for _ in range(3):
            list(documents.feed(b'{"a":"' + b"x" * MAX_DOCUMENT, False))


def test_cut_off_document_is_refused_at_the_end():
    documents = Documents()
    assert list(documents.feed(b'{"a":', False)) == []
    with pytest.raises(JsonError):
        list(documents.feed(b"", True))


def test_documents_before_a_malformed_one_are_found():
    found = []
    with pytest.raises(JsonError):
        found.extend(Documents().feed(b'{"a":1}{"b":2}{"c":x}', False))
    assert found == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"key":"YQ==",}', "invalid character '}' looking for beginning of object key string"),
        ('{"key":"YQ==" "limit":1}', "invalid character '\"' after object key:value pair"),
        ("{'key':1}", "invalid character '\\'' looking for beginning of object key string"),
        ('{"key" 1}', "invalid character '1' after object key"),
        ('{"key":"a', "unexpected EOF"),
        ('{"key":x}', "invalid character 'x' looking for beginning of value"),
        ('{"limit":"0x5"}', "invalid character 'x' after top-level value"),
    ],
)
def test_words_about_malformed_json_are_those_of_go(text, words):
    with pytest.raises(JsonError) as problem:
        json_codec.from_text(RangeRequest, text.encode())
    assert str(problem.value) == words
