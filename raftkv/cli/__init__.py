"""Everything a person sees: arguments, prompts, tables, exit statuses.

Three programs, each a `main(argv) -> exit status`:

* `server` (bin/kvserver.py CONFIG.ini) runs one node until SIGTERM or SIGINT.
* `client` (bin/kvclient.py) runs one command, commands from standard input, or a prompt.
* `cluster` (bin/kvcluster.py) runs a whole cluster on this machine, and on a terminal the client's prompt.

`commands` is the table of what a client can be told to do, used by one-shot, piped and prompt forms alike: a
command takes words and returns an Outcome (exit status, text, plain data), so that none of them prints or
exits by itself. `prompt` adds line editing, history, Tab completion and Ctrl-C to it, `status` the table of
servers. `cluster_files` writes and finds the ini files of a local cluster, `nodes` runs its processes.

What this layer does not do: talk to servers, retry, or know Raft. That is Clerk's and KVServer's work.
"""
