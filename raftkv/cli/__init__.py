"""Everything a person sees: arguments, prompts, tables, exit statuses.

Three programs, each a `main(argv) -> exit status`:

* `server` (bin/kvserver.py CONFIG.ini) runs one node until SIGTERM or SIGINT.
* `client` (bin/kvclient.py) runs one command, commands from standard input, or a prompt.
* `cluster` (bin/kvcluster.py) runs a whole cluster on this machine, and on a terminal the client's prompt.

What the client and the launcher's prompt share, from the bottom up:

    printable.py            what a terminal may be shown; everything else is escaped
    outcome.py              exit statuses, and what comes of a command: text, plain data, or an error
    words.py, arguments.py  lines to words by shell rules, and back; words to options and arguments
    console.py, values.py   the standard streams as commands use them; values from streams and files
    call.py                 a command, how it is called, and the texts of `help`
    commands.py             the table of commands, used by one-shot, piped and prompt forms alike
    program.py              programs that `watch` and `lock` run
    status.py, watch.py, locks.py, leases.py, txn.py, dump.py, load.py, dump_format.py   some of them
    rows.py                 keys with their values, as commands show them
    piped.py, prompt.py     commands line by line; line editing, history and a Ctrl-C that abandons a command
    completion.py           what a Tab makes of a line
    line_editor.py, terminal.py   what nodes print, above the line that is being typed

A command gets words and returns an Outcome, so that none of them prints or exits by itself. `cluster_files` writes
and finds the ini files of a local cluster, `nodes` runs its processes, and `local_members` has servers come and go.
`recovery` is `kvserver --recover`.

What this layer does not do: talk to servers, retry, or know Raft. That is Clerk's and KVServer's work.
"""
