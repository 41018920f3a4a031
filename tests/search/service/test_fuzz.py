"""The API as its own description tells it, asked by schemathesis: whatever is sent, no answer is a fault of ours, and
each is what the description says."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from tests.search.service.conftest import FREE

from fastgoal.search.service.app import OPENAPI, make_app
from fastgoal.search.service.settings import ServiceSettings

schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.checks")


@pytest.fixture(scope="module")
def described(searcher):
    return schemathesis.openapi.from_asgi(OPENAPI, make_app(searcher, ServiceSettings(uri="unused", limits=FREE)))


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@settings(
    max_examples=12,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_whatever_is_sent_the_answer_is_as_described(case):
    case.call_and_validate(
        checks=[
            checks.not_a_server_error,
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_schema_conformance,
        ]
    )
