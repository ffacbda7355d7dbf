from __future__ import annotations

from typing import Any

import pytest

from tests.contrib.django.conftest import Configure
from tests.contrib.django.site.shop.models import Member
from xpert_mq.contrib.django.users import load_user

pytestmark = pytest.mark.usefixtures("queue")


@pytest.mark.parametrize("user_id", ["", "-1", "1.5", "9" * 40, "\0"])
def test_id_that_no_user_can_have(user_id: str) -> None:
    assert load_user(user_id, "t-1") is None


def test_inactive_user_is_loaded_as_any_other() -> None:
    """Whether it may still act is for `ALLOWS` to say."""
    user = Member.objects.create_user("ada", tenant_id="t-1", is_active=False)

    assert load_user(str(user.pk), "t-1").pk == user.pk


def test_what_the_setting_raises_goes_through(configure: Configure) -> None:
    def allows(user: Any, tenant_id: str | None, organization_id: str | None) -> bool:
        raise LookupError(user.username)

    configure(ALLOWS=allows)
    user = Member.objects.create_user("ada")

    with pytest.raises(LookupError, match="ada"):
        load_user(str(user.pk), "t-1")
