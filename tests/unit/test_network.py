"""PeerNetwork: who may speak, and what happens to what is malformed. wire.py: what passes at all."""

from __future__ import annotations

import errno
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from raftkv.errors import (
    AuthenticationError,
    ConnectionLostError,
    DamagedDataError,
    ProtocolError,
    RemoteError,
    RpcError,
    StorageError,
)
from raftkv.node import peer_link
from raftkv.node.hello import Hello, RefusedError
from raftkv.node.interfaces import Refusal
from raftkv.node.network import PeerNetwork
from raftkv.node.peer_link import PeerLink
from raftkv.node.problems import Problems
from raftkv.node.snapshot_source import SnapshotSource
from raftkv.node.wire import from_plain, hello_from_plain, to_plain
from raftkv.raft.configuration import Configuration
from raftkv.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    PreVoteReply,
    RequestPreVote,
    RequestVote,
    SnapshotReply,
    StaleTerm,
    VoteReply,
)
from raftkv.raft.types import COMMAND, CONFIG, NOOP, Entry, Snapshot, encode_entries
from raftkv.rpc.client import ClientEnd
from raftkv.rpc.wire import FrameReader, dumps, loads
from raftkv.storage.persister import Persister

from tests.cluster.waiting import wait_until
from tests.sim.disk import SimDisk
from tests.unit.hellos import hello_of

VOTERS = (1, 2, 3)
SNAPSHOT = Snapshot(5, 2, Configuration(VOTERS))
MESSAGES: tuple[Message, ...] = (
    RequestPreVote(2, 1, 3, 9, 2),
    PreVoteReply(2, 1, 3, 4, True),
    RequestVote(2, 1, 3, 9, 2),
    VoteReply(2, 1, 3, False),
    AppendEntries(2, 1, 3, 7, 1, (Entry.create(8, 2, COMMAND, ["é"]), Entry.create(9, 3, NOOP, None)), 6),
    AppendEntries(2, 1, 3, 0, 0, (), 0),
    AppendEntries(2, 1, 3, 0, 0, (Entry.create(1, 3, CONFIG, {"voters": [1, 2]}),), 0),
    AppendAccepted(2, 1, 3, 9),
    AppendRejected(2, 1, 3, 9, 8, 2),
    Heartbeat(2, 1, 3, 9, 4, 12),
    HeartbeatReply(2, 1, 3, 4, True),
    InstallSnapshot(2, 1, 3, SNAPSHOT, 17, b"\0data", True),
    SnapshotReply(2, 1, 3, 5, 17),
    StaleTerm(2, 1, 3),
)


# -- wire.py -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_out_as_it_went_in(message: Message) -> None:
    assert from_plain(loads(dumps(to_plain(message)))) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_no_field_can_be_replaced_by_what_ends_a_node(message: Message) -> None:
    """Each field in turn by values of all kinds: a message results, or ProtocolError, and nothing else."""
    loop: list[Any] = []
    loop.append(loop)
    deep: Any = ()
    for _ in range(50_000):
        deep = (deep,)
    plain = to_plain(message)
    for at in range(1, len(plain)):
        for value in (
            None,
            True,
            -1,
            2**63,
            2**2000,
            1.5,
            "1",
            b"[]\n",
            (),
            [],
            {},
            {"voters": []},
            loop,
            deep,
        ):
            try:
                result = from_plain((*plain[:at], value, *plain[at + 1 :]))
            except ProtocolError:
                continue
            assert list(map(type, result)) == list(map(type, message)), f"{result}"
            numbers = [field for field in result if type(field) is int]
            assert all(0 <= number < 2**63 for number in numbers), f"{result}"
    for wrong in ((), plain[:-1], (*plain, 0), list(plain), (None, *plain[1:]), ("No", *plain[1:])):
        with pytest.raises(ProtocolError):
            from_plain(wrong)


def lines(*entries: tuple[int, int]) -> bytes:
    return encode_entries([Entry.create(index, term, COMMAND, None) for index, term in entries])


@pytest.mark.parametrize(
    "prev_term, data",
    [
        (0, lines((9, 3))),  # a gap
        (0, lines((8, 3), (8, 3))),
        (0, lines((8, 3), (9, 2))),  # terms go back
        (3, lines((8, 2))),
        (0, lines((8, 4))),  # a term that the leader has not come to
        (4, b""),
        (0, lines((8, 3))[:-3] + b"7]\n"),  # another CRC
        (0, Entry.create(8, 3, CONFIG, {"voters": []}).line),
        (0, Entry.create(8, 3, CONFIG, [1, 2, 3]).line),
    ],
)
def test_entries_that_no_leader_can_have_are_refused(prev_term: int, data: Any) -> None:
    with pytest.raises(ProtocolError, match="AppendEntries that cannot be right"):
        from_plain(("AppendEntries", 2, 1, 3, 7, prev_term, data, 0))


@pytest.mark.parametrize(
    "snapshot",
    [
        (-5, 2, {"voters": [1]}),
        (5, 4, {"voters": [1]}),
        (5, 0, {"voters": [1]}),
        ("5", 2, {"voters": [1]}),
        (5, 2, {"voters": []}),
        (5, 2, {"voters": [1, 1]}),
        (5, 2, {"voters": [1, "2"]}),
        (5, 2, {"voters": [0, 1]}),
        (5, 2, {}),
        (5, 2, [1, 2, 3]),
        (5, 2),
    ],
)
def test_snapshots_that_no_leader_can_have_are_refused(snapshot: Any) -> None:
    with pytest.raises(ProtocolError, match="InstallSnapshot that cannot be right"):
        from_plain(("InstallSnapshot", 2, 1, 3, snapshot, 0, b"", False))


def test_a_hello_passes_only_with_fields_of_its_types() -> None:
    hello = hello_of(2)
    assert hello_from_plain(loads(dumps(tuple(hello)))) == hello
    for at in range(len(hello)):
        for value in (-1, 1.5, b"", [], (b"",), ((),)):
            with pytest.raises(ProtocolError):
                hello_from_plain((*hello[:at], value, *hello[at + 1 :]))
    for wrong in (None, list(hello), tuple(hello)[1:], (*hello, 0)):
        with pytest.raises(ProtocolError):
            hello_from_plain(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"uid": 0},
        {"id": 1 << 60},
        {"tokens": tuple(range(1001))},
        *({"peer_address": a} for a in ("", "a", "a:", "a:99999", "a:0", ":1", "a b:1", "[::1]:1", "a:-1")),
        {"members": ("a:1", "nonsense")},
    ],
)
def test_a_hello_that_cannot_be_right_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        hello_from_plain(tuple(hello_of(2)._replace(**wrong)))


# -- incoming ------------------------------------------------------------------------------------------------


class FakeChannel:
    """A connection that a peer made. `replies`: what it was answered."""

    def __init__(self) -> None:
        self.peer, self.context, self.faults, self.closed = f"somewhere:{id(self)}", None, [], False  # type: ignore[var-annotated]
        self.heard_at = 0.0
        self.replies: list[Any] = []
        self.waiting: list[Any] = []

    def send(self, data: bytes) -> None:
        self.replies += [loads(payload) for payload in FrameReader(1 << 20).feed(data)]

    @property
    def closing(self) -> bool:
        return self.closed

    def close(self, fault: str | None = None) -> None:
        self.closed = True
        self.faults.append(fault)


class FakeMember:
    """Accepts all but node 3."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.refusals: list[Refusal] = []
        self.lost: list[int] = []
        self.removals: list[str] = []
        self.remembers = True
        self.greeted_on: list[str] = []  # names of threads

    def on_messages(self, messages: list[Message]) -> list[Refusal]:
        self.messages += messages
        return self.refusals

    def on_lost_contact(self, peer: int) -> None:
        self.lost.append(peer)

    def on_removed(self, sentence: str) -> None:
        self.removals.append(sentence)

    def make_hello(self) -> Hello:
        return hello_of(1)

    def is_remembered(self, hello: Hello) -> bool:
        return self.remembers

    def on_hello(self, to: int, hello: Hello) -> Hello:
        self.greeted_on.append(threading.current_thread().name)
        self.on_hello_reply(hello)
        return hello_of(1)

    def on_hello_reply(self, hello: Hello) -> None:
        if hello.id == 3:
            raise ProtocolError("node 3 is not wanted")


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterable[PeerNetwork]:
    """It is to follow nodes 2 and 3, but connects to nobody."""
    monkeypatch.setattr(ClientEnd, "start", lambda end: None)
    persister = Persister(str(tmp_path / "data"), node_id=1, cluster="c")
    network = PeerNetwork(b"key", persister, 1000, pytest.fail)
    network.handler = FakeMember()  # type: ignore[assignment]
    network.follow({"127.0.0.1:2": 2, "127.0.0.1:3": 3})
    yield network
    network.close()
    persister.close()


def member_of(network: PeerNetwork) -> FakeMember:
    return network.handler  # type: ignore[return-value]


def greeted(network: PeerNetwork, hello: Hello | None = None) -> FakeChannel:
    """A connection on which node 2, or another one, said hello."""
    channel = FakeChannel()
    receive(network, channel, 0, "hello", (1, *(hello or hello_of(2))))
    return channel


def link_to(network: PeerNetwork, id: int, up: bool = True) -> PeerLink:
    link = network._links[f"127.0.0.1:{id}"]
    if up:
        link._on_hello(tuple(hello_of(id)))
    return link


def problem(network: PeerNetwork) -> str:
    (sentence,) = network.problems.sentences()
    return sentence


def receive(network: PeerNetwork, channel: FakeChannel, id: Any, method: str, args: tuple) -> None:
    network.on_requests([(channel, id, method, args)])  # type: ignore[list-item]


def test_after_a_hello_that_is_accepted_messages_are_taken_in_their_order(network: PeerNetwork) -> None:
    channel = FakeChannel()
    messages = [StaleTerm(20, 10, 3), VoteReply(20, 10, 3, True)]
    batch: list[Any] = [(channel, 0, "hello", (1, *hello_of(2)))]
    batch += [(channel, None, "raft", to_plain(message)) for message in messages]
    network.on_requests(batch)
    assert member_of(network).messages == messages and not channel.closed
    assert channel.replies == [(0, True, tuple(hello_of(1)))]
    assert network.met() == {20: hello_of(2)}


def test_peer_that_says_nothing_or_is_refused_sends_no_messages(network: PeerNetwork) -> None:
    for hello in (None, hello_of(3)):
        channel = FakeChannel()
        if hello is not None:
            receive(network, channel, 0, "hello", (0, *hello))
        receive(network, channel, None, "raft", to_plain(StaleTerm(20, 10, 3)))
        assert channel.closed and member_of(network).messages == [] and network.met() == {}
    assert problem(network) == "refused a server at 127.0.0.1:3: node 3 is not wanted"


def test_new_peer_is_answered_by_a_thread_that_may_wait_for_the_disk(network: PeerNetwork) -> None:
    member = member_of(network)
    member.remembers = False
    channel = greeted(network)
    wait_until(lambda: channel.replies, "the answer")
    assert member.greeted_on == ["hello"] and channel.context == 20


def test_a_message_in_the_name_of_another_node_closes_the_connection(network: PeerNetwork) -> None:
    channel = greeted(network)
    receive(network, channel, None, "raft", to_plain(StaleTerm(30, 10, 9)))
    assert channel.faults == ["a message in the name of another server"]
    assert member_of(network).messages == []


def test_a_message_that_no_correct_peer_sends_closes_its_connection(network: PeerNetwork) -> None:
    channel = greeted(network)
    member_of(network).refusals = [
        Refusal(20, "nodes 2 and 3 both lead term 7"),
        Refusal(30, "of nobody here"),
    ]
    receive(network, channel, None, "raft", to_plain(StaleTerm(20, 10, 3)))
    assert channel.closed and problem(network).startswith("node 2 is refused, it sends what no correct")


def test_malformed_message_closes_the_connection(network: PeerNetwork) -> None:
    for method, args in (("raft", ("Heartbeat", 2)), ("put", ("a", "b"))):
        channel = greeted(network)
        receive(network, channel, None, method, args)
        assert channel.closed


def test_a_hello_of_nested_rubbish_is_refused_at_once(network: PeerNetwork) -> None:
    """To show it in a message would take for ever."""
    rubbish: Any = []
    for _ in range(100):
        rubbish = [rubbish, rubbish]
    for args in ((), (1, rubbish), (rubbish, *hello_of(2))):
        channel = FakeChannel()
        receive(network, channel, 0, "hello", args)
        assert channel.replies[0][1] is False and channel.context is None


def test_the_newest_connection_of_a_disk_is_the_only_one(network: PeerNetwork) -> None:
    """What an earlier one still brings may be of an earlier life of it, or of a copy."""
    old = greeted(network)
    new = greeted(network)
    assert old.closed and not new.closed
    receive(network, old, None, "raft", to_plain(StaleTerm(20, 10, 3)))
    assert member_of(network).messages == []
    network.on_close(old)  # type: ignore[arg-type]
    assert member_of(network).lost == []
    network.on_close(new)  # type: ignore[arg-type]
    assert member_of(network).lost == [20]


def test_talk_with_an_earlier_life_of_a_disk_ends_when_a_later_one_is_met(network: PeerNetwork) -> None:
    link_to(network, 2)
    greeted(network)
    assert 20 in network._routes
    greeted(network, hello_of(2, starts=2, tokens=(1, 5)))
    assert network._routes == {} and "127.0.0.1:2" not in network._links, "until it is followed anew"


# -- problems ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error, says",
    [
        (RemoteError("bad_request", "this is another cluster"), "refuses this node: this is another cluster"),
        (AuthenticationError("it does not hold"), r"does not hold the same key: compare .* peer_key_file"),
        (RefusedError("an older copy"), "is refused: an older copy$"),
        (ProtocolError("it speaks HTTP"), r"is no member of this cluster \(it speaks HTTP\): compare"),
    ],
)
def test_a_peer_that_is_none_is_a_problem_until_it_answers(
    network: PeerNetwork, caplog: pytest.LogCaptureFixture, error: RpcError, says: str
) -> None:
    link = link_to(network, 2, up=False)
    with caplog.at_level("INFO"):
        for _ in range(3):
            link._on_failure(error)
        assert re.search("^node 2 at 127.0.0.1:2 " + says, problem(network))
        assert network.is_refused is isinstance(error, RemoteError)
        link_to(network, 2)
    assert network.problems.sentences() == [] and member_of(network).removals == []
    assert not network.is_refused
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_server_that_was_removed_hears_so(network: PeerNetwork) -> None:
    link_to(network, 2, up=False)._on_failure(RemoteError("removed", "the disk of node 1 was removed"))
    assert member_of(network).removals == [problem(network)]


def test_a_peer_that_cannot_be_reached_is_a_problem_after_a_while(
    network: PeerNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, now = link_to(network, 2, up=False), 1000.0
    monkeypatch.setattr(peer_link.time, "monotonic", lambda: now)
    link._on_failure(ConnectionLostError("connection refused"))
    assert network.problems.sentences() == []
    now += peer_link.UNREACHABLE_S
    link._on_failure(ConnectionLostError("connection refused"))
    link._on_failure(ConnectionLostError("no route to host"))
    assert problem(network) == "node 2 at 127.0.0.1:2 cannot be reached: connection refused"


def test_refused_peer_that_came_no_more_is_no_problem_after_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    problems = Problems(lambda: now)
    problems.set("key", "something", lasts_s=10.0)
    now = 9.0
    problems.set("key", "something", lasts_s=10.0)
    now = 18.0
    assert problems.sentences() == ["something"]
    now = 19.0
    with caplog.at_level("INFO"):
        assert problems.sentences() == [] and caplog.messages[1:] == ["over: something"]


# -- outgoing ------------------------------------------------------------------------------------------------


class Sent:
    """Stands in for a ClientEnd's notify(): keeps the messages."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def __call__(self, frames: bytes) -> bool:
        self.messages += [from_plain(loads(payload)[2]) for payload in FrameReader(1 << 20).feed(frames)]
        return True


def test_the_outbox_leaves_in_its_order_and_whoever_sends_takes_what_comes_meanwhile(
    network: PeerNetwork,
) -> None:
    link, sent = link_to(network, 2), Sent()
    late = StaleTerm(10, 20, 9)

    def notify(frames: bytes) -> bool:
        if not sent.messages:
            network.enqueue([late])
            network.flush()  # another thread, which finds the link busy
        return sent(frames)

    link.end.notify = notify  # type: ignore[method-assign]
    messages = [StaleTerm(10, 20, term) for term in (1, 2)]
    network.enqueue([*messages, StaleTerm(10, 70, 1)])  # there is no such disk
    network.flush()
    assert sent.messages == [*messages, late] and not link.outbox


def test_a_chunk_is_read_by_a_thread_that_may_wait_for_the_disk(network: PeerNetwork) -> None:
    link, sent = link_to(network, 2), Sent()
    link.end.notify = sent  # type: ignore[method-assign]
    persister = network._persister
    persister.write_snapshot(SNAPSHOT, [b'["%b"]\n' % (b"x" * 1500)])
    reader = persister.open_snapshot()
    assert reader is not None
    with reader:
        whole = reader.read(0, reader.size)
    network.enqueue([InstallSnapshot(10, 20, 3, SNAPSHOT, 0, b"", False)])
    network.enqueue([InstallSnapshot(10, 20, 3, SNAPSHOT, 1000, b"", False)])
    network.flush()
    assert sent.messages == [], "whoever flushes does not read"
    network._chunks.put(None)
    network._read_chunks()
    chunks = [(m.offset, m.data, m.done) for m in sent.messages if isinstance(m, InstallSnapshot)]
    assert chunks == [(0, whole[:1000], False), (1000, whole[1000:], True)]


def test_a_snapshot_goes_on_being_read_when_a_newer_one_replaces_it(tmp_path: Path) -> None:
    persister = Persister(str(tmp_path / "data"), node_id=1, cluster="c")
    persister.write_snapshot(SNAPSHOT, [b"[1]\n"])
    source = SnapshotSource(persister, 50)
    first = source.read(SNAPSHOT, 0)
    persister.write_snapshot(SNAPSHOT._replace(index=6), [b"[2]\n"])
    assert first is not None and source.read(SNAPSHOT, 0) == first
    source.close()
    assert source.read(SNAPSHOT, 0) is None, "it is gone now"
    source.close()
    persister.close()


def test_a_damaged_snapshot_is_not_sent_for_ever(tmp_path: Path) -> None:
    persister = Persister(str(tmp_path / "data"), node_id=1, cluster="c")
    persister.write_snapshot(SNAPSHOT, [b"[1]\n"])
    (file,) = (tmp_path / "data" / "snapshot").iterdir()
    file.write_bytes(file.read_bytes().replace(b"[1]", b"[3]"))
    source = SnapshotSource(persister, 1000)
    assert source.read(SNAPSHOT, 0), "reading it twice each time would cost too much"
    with pytest.raises(DamagedDataError, match="does not match its CRC-32"):
        source.read(SNAPSHOT, 0)
    source.close()
    persister.close()


def test_a_sound_snapshot_is_sent_as_often_as_it_is_asked_for(tmp_path: Path) -> None:
    persister = Persister(str(tmp_path / "data"), node_id=1, cluster="c")
    persister.write_snapshot(SNAPSHOT, [b"[1]\n"])
    source = SnapshotSource(persister, 1000)
    first = source.read(SNAPSHOT, 0)
    assert first and source.read(SNAPSHOT, 0) == first == source.read(SNAPSHOT, 0)
    source.close()
    persister.close()


def test_a_disk_that_fails_while_a_snapshot_is_sent() -> None:
    def fails(operation: str, path: str) -> None:
        raise OSError(errno.EIO, "Input/output error", path)

    disk = SimDisk()
    persister = Persister("data", node_id=1, cluster="c", disk=disk)
    persister.write_snapshot(SNAPSHOT, [b"[1]\n"])
    disk.before = fails
    with pytest.raises(StorageError, match="check that disk"):
        SnapshotSource(persister, 1000).read(SNAPSHOT, 0)
    persister.close()


def test_an_answer_of_another_node_is_refused(network: PeerNetwork) -> None:
    link = link_to(network, 2, up=False)
    with pytest.raises(ProtocolError, match="node 4 answers there"):
        link._on_hello(tuple(hello_of(4)))
    with pytest.raises(ProtocolError):
        link._on_hello("rubbish")
    with pytest.raises(ProtocolError, match="not wanted"):
        link_to(network, 3)
    assert network.met() == {}
    link_to(network, 2)
    assert network.met() == {20: hello_of(2)}
    link._on_down()
    assert network.met() == {}


def test_links_are_those_that_are_wanted(network: PeerNetwork) -> None:
    link = link_to(network, 2)
    network.follow({"127.0.0.1:2": 2, "127.0.0.1:4": 4})
    assert network._links.keys() == {"127.0.0.1:2", "127.0.0.1:4"} and network._links["127.0.0.1:2"] is link
    network.follow({"127.0.0.1:4": 4})
    assert network._links.keys() == {"127.0.0.1:4"} and network.met() == {}
    with pytest.raises(ProtocolError, match="not wanted any more"):
        link._on_hello(tuple(hello_of(2)))


def test_dropped_peer_is_connected_no_more(network: PeerNetwork) -> None:
    link_to(network, 2)
    channel = greeted(network)
    network.drop(20, "it has left")
    assert channel.faults == ["it has left"] and "127.0.0.1:2" not in network._links
