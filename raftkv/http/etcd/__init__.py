"""etcd's API: messages, their JSON, and what calls do. It knows nothing of HTTP.

fields.py          what kinds of fields messages have
*_messages.py      the messages, one small class each, as in etcd's own definitions
json_codec.py      messages from and to JSON; another encoding could stand beside it
documents.py       JSON objects out of a body that comes in pieces
status.py          what calls end with that do not succeed, in etcd's words and codes
calls.py           what a call is: a generator of steps
kv_calls.py        range, put, deleterange, txn, compaction
lease_calls.py     leases
lock_calls.py      locks and elections
member_calls.py    members
maintenance_calls.py, auth_calls.py
service.py         the table of calls, by path
"""
