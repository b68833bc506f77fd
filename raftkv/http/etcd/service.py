"""The table of calls: by path, without the version in front of it."""

from __future__ import annotations

from raftkv.http.etcd import auth_calls, kv_calls, lease_calls, lock_calls, maintenance_calls, member_calls
from raftkv.http.etcd.auth_messages import AuthenticateRequest, NamedRequest
from raftkv.http.etcd.calls import Call
from raftkv.http.etcd.kv_messages import (
    CompactionRequest,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    TxnRequest,
)
from raftkv.http.etcd.lease_messages import (
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseLeasesRequest,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
)
from raftkv.http.etcd.lock_messages import (
    CampaignRequest,
    LeaderRequest,
    LockRequest,
    ProclaimRequest,
    ResignRequest,
    UnlockRequest,
)
from raftkv.http.etcd.maintenance_messages import AlarmRequest, Empty, MoveLeaderRequest
from raftkv.http.etcd.member_messages import (
    MemberAddRequest,
    MemberIdRequest,
    MemberListRequest,
    MemberUpdateRequest,
)

_OF_USER, _OF_ROLE = Call(NamedRequest, auth_calls.of_user), Call(NamedRequest, auth_calls.of_role)

#: Asked and answered once.
CALLS: dict[str, Call] = {
    "/kv/range": Call(RangeRequest, kv_calls.range_),
    "/kv/put": Call(PutRequest, kv_calls.put),
    "/kv/deleterange": Call(DeleteRangeRequest, kv_calls.delete_range),
    "/kv/txn": Call(TxnRequest, kv_calls.txn),
    "/kv/compaction": Call(CompactionRequest, kv_calls.compaction),
    "/lease/grant": Call(LeaseGrantRequest, lease_calls.grant),
    "/lease/revoke": Call(LeaseRevokeRequest, lease_calls.revoke),
    "/kv/lease/revoke": Call(LeaseRevokeRequest, lease_calls.revoke),
    "/lease/timetolive": Call(LeaseTimeToLiveRequest, lease_calls.time_to_live),
    "/kv/lease/timetolive": Call(LeaseTimeToLiveRequest, lease_calls.time_to_live),
    "/lease/leases": Call(LeaseLeasesRequest, lease_calls.leases),
    "/kv/lease/leases": Call(LeaseLeasesRequest, lease_calls.leases),
    "/cluster/member/list": Call(MemberListRequest, member_calls.member_list),
    "/cluster/member/add": Call(MemberAddRequest, member_calls.member_add),
    "/cluster/member/remove": Call(MemberIdRequest, member_calls.member_remove),
    "/cluster/member/promote": Call(MemberIdRequest, member_calls.member_promote),
    "/cluster/member/update": Call(MemberUpdateRequest, member_calls.member_update),
    "/maintenance/status": Call(Empty, maintenance_calls.status),
    "/maintenance/alarm": Call(AlarmRequest, maintenance_calls.alarm),
    "/maintenance/defragment": Call(Empty, maintenance_calls.defragment),
    "/maintenance/hash": Call(Empty, maintenance_calls.hash_),
    "/maintenance/transfer-leadership": Call(MoveLeaderRequest, maintenance_calls.transfer_leadership),
    "/maintenance/downgrade": Call(Empty, maintenance_calls.downgrade),
    "/lock/lock": Call(LockRequest, lock_calls.lock),
    "/lock/unlock": Call(UnlockRequest, lock_calls.unlock),
    "/election/campaign": Call(CampaignRequest, lock_calls.campaign),
    "/election/proclaim": Call(ProclaimRequest, lock_calls.proclaim),
    "/election/leader": Call(LeaderRequest, lock_calls.leader),
    "/election/resign": Call(ResignRequest, lock_calls.resign),
    "/auth/status": Call(Empty, auth_calls.status),
    "/auth/authenticate": Call(AuthenticateRequest, auth_calls.authenticate),
    "/auth/enable": Call(Empty, auth_calls.enable),
    "/auth/disable": Call(Empty, auth_calls.disable),
    "/auth/user/list": Call(Empty, auth_calls.user_list),
    "/auth/user/get": Call(NamedRequest, auth_calls.user_get),
    "/auth/user/add": Call(NamedRequest, auth_calls.user_add),
    "/auth/user/delete": _OF_USER,
    "/auth/user/changepw": _OF_USER,
    "/auth/user/grant": _OF_USER,
    "/auth/user/revoke": _OF_USER,
    "/auth/role/list": Call(Empty, auth_calls.role_list),
    "/auth/role/add": Call(NamedRequest, auth_calls.role_add),
    "/auth/role/get": _OF_ROLE,
    "/auth/role/delete": _OF_ROLE,
    "/auth/role/grant": _OF_ROLE,
    "/auth/role/revoke": _OF_ROLE,
}

#: Asked once, and answered by a stream.
STREAMS: dict[str, Call] = {
    "/maintenance/snapshot": Call(Empty, maintenance_calls.snapshot),
    "/election/observe": Call(LeaderRequest, lock_calls.observe),
}

#: Streams: each message is a call, and answered in its turn.
EACH: dict[str, Call] = {
    "/lease/keepalive": Call(LeaseKeepAliveRequest, lease_calls.keep_alive),
}
