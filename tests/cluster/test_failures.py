"""What Ray says about actors, as it says it."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportAttributeAccessIssue=false
# (ray is only partly typed)

from __future__ import annotations

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError, ActorUnavailableError

from gen_searcher.cluster.failures import is_over

ID = b"0" * 16
KNOWN = ActorDiedError(ActorDiedErrorContext(actor_id=ID, class_name="RolloutActor", error_message="out of restarts"))
UNKNOWN = ActorDiedError(ActorDiedErrorContext(actor_id=ID))


@pytest.mark.parametrize("can_replace", [True, False])
def test_an_actor_that_ray_knows_to_be_dead_is_given_up_and_one_that_restarts_is_not(can_replace: bool) -> None:
    assert is_over(KNOWN, can_replace=can_replace)
    assert not is_over(ActorUnavailableError("it restarts", ID), can_replace=can_replace)


def test_an_actor_whose_fate_the_head_has_not_told_yet_is_asked_again_unless_another_one_takes_its_place() -> None:
    assert not is_over(UNKNOWN, can_replace=False)
    assert is_over(UNKNOWN, can_replace=True)
