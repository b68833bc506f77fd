"""Storage: what a node finds again after a crash. Term, vote, log and snapshots as JSON files, fsynced.

From the bottom up:

    file_lock.py          FileLock: who uses a folder
    disk.py               Disk: the few operations on files that all of storage is built of
    reserve.py            Reserve: room that is given back when the disk is full
    sealed.py             small JSON files with a CRC-32, replaced as a whole
    identity.py           LOCK and node.json: whose data folder this is
    folder.py             the folder itself: made or taken, and what to do if it cannot be used
    replay.py             log files read back: is what is wrong with them a torn tail, or damage?
    segments.py           SegmentedLog: the log, in files that are only ever appended to
    snapshot_file.py      one snapshot's file, read and written
    snapshots.py          SnapshotStore: the newest snapshot, and those on the way to replace it
    reading.py            FolderReader: the folder of a node that does not run, read without a change
    persister.py          Persister: all of it together

When a method of Persister returns, what it was given is durable. A torn last write is cut off at the next
start; all other damage is refused, with file, line and the way back. A failed write or fsync is never tried
again: nobody knows what the disk holds after it. But what finds no room on the disk may be asked for again.

What this layer does not do: it decides nothing (which entry replaces which, when a snapshot is due), and it
repairs no damage.
"""
