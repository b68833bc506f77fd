"""All mutants. The modules that they break are loaded when one is put in force, and not before."""

from __future__ import annotations

from tests.mutants import in_database, in_membership, in_raft, in_rpc, in_storage, in_watches
from tests.mutants.mutant import Mutant

MUTANTS: list[Mutant] = [
    *in_raft.MUTANTS, *in_membership.MUTANTS, *in_storage.MUTANTS, *in_rpc.MUTANTS, *in_database.MUTANTS,
    *in_watches.MUTANTS
]  # fmt: skip
BY_NAME: dict[str, Mutant] = {mutant.name: mutant for mutant in MUTANTS}

assert len(BY_NAME) == len(MUTANTS), "two mutants have one name"
