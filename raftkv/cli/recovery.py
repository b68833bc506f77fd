"""`kvserver --recover CONFIG`: what the operator is told before and after, and asked."""

from __future__ import annotations

import sys

from raftkv.cli.outcome import BAD_INPUT, DONE, NO
from raftkv.config import ServerConfig
from raftkv.kvdb.recovery import Survivor, look, recover
from raftkv.raft.configuration import Configuration


def run_recovery(config: ServerConfig, *, yes: bool) -> int:
    """Make the disk of this server a cluster of one, if the operator agrees, or has done so before (`yes`). Returns the
    exit status. Raises StorageError."""
    survivor = look(config)
    if survivor.is_alone:
        print(f"nothing to do: node {config.node_id} is the only member of its cluster; start it")
        return DONE
    print(warning(config, survivor), flush=True)
    if not yes:
        if not sys.stdin.isatty():
            print("kvserver: nothing was changed: add --yes if that is what you want", file=sys.stderr)
            return BAD_INPUT
        if not _agrees():
            print("kvserver: nothing was changed", file=sys.stderr)
            return NO
    after = recover(config)
    print(
        f"done: node {config.node_id} is a cluster of its own, from entry {after.configuration.recovered} on. Start it, "
        "and then servers with empty data folders, which `kvclient member add` makes its members."
    )
    return DONE


def _agrees() -> bool:
    try:
        return input("Type yes to go on: ").strip() == "yes"
    except (EOFError, KeyboardInterrupt):
        print()
        return False


def warning(config: ServerConfig, survivor: Survivor) -> str:
    """What is done, and what may be lost by it."""
    (index, term), id, folder = survivor.last, config.node_id, config.data_dir
    lines = [
        f"This makes a cluster of one from the disk of node {id}, {folder}.",
        f"It has {survivor.keys} keys; its last entry is {index} of term {term}.",
        f"* Lost is what was acknowledged after entry {index}, if anything was: it is not on this disk.",
    ]
    if survivor.uncertain:
        lines.append(f"* What the last {survivor.uncertain} entries say takes effect, acknowledged or not.")
    lines += [f"* {remark}" for remark in _remarks(config, survivor)]
    lines += [
        f"* {_others(survivor)} can come back with empty disks only. Their majority would still be the old cluster:",
        "  see to it that they are stopped.",
        "* Clients that are connected to the old cluster get an error, and must connect anew.",
        "Do it only if no majority of the members can be started again. Keep a copy of the folder.",
    ]
    return "\n".join(lines)


def _others(survivor: Survivor) -> str:
    members = survivor.configuration
    labels = sorted(members.label(uid) for uid in members.members if uid != survivor.uid)
    return f"{'Node' if len(labels) == 1 else 'Nodes'} {', '.join(map(str, labels))}"


def _remarks(config: ServerConfig, survivor: Survivor) -> list[str]:
    members: Configuration = survivor.configuration
    if survivor.uid in members.all_voters:
        return []
    if survivor.uid in members.learners:
        return [f"Node {config.node_id} was a learner: it may lack much of what was acknowledged."]
    return [f"Node {config.node_id} was removed from the cluster: it lacks all that came after that."]
